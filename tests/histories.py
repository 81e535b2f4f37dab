"""Small seeded price histories with everything in them that a rule can trip over."""

from __future__ import annotations

import numpy as np

from kernels import Market


def history(T: int = 400, A: int = 3, seed: int = 7) -> Market:
    """Daily bars of A assets: calm and wild stretches, gaps through any stop, a halt without trading, a crash."""
    rng = np.random.default_rng(seed)
    wild = rng.random((T, A)) < 0.1
    moves = np.where(wild, 0.12, 0.02) * rng.standard_normal((T, A))
    overnight = np.where(rng.random((T, A)) < 0.05, 0.15, 0.002) * rng.standard_normal((T, A))
    halted = np.zeros((T, A), dtype=bool)
    halted[T // 2 : T // 2 + T // 12, 0] = True  # long enough that a window of 6 to 30 bars sees no return at all
    moves[halted] = overnight[halted] = 0.0
    moves[3 * T // 4] -= 0.4
    close = 100.0 * np.exp(np.cumsum(moves + overnight, axis=0))
    open_ = np.concatenate([close[:1], close[:-1]]) * np.exp(overnight)
    reach = np.where(halted, 0.0, np.abs(rng.normal(0.0, 0.01, (T, A))))
    high, low = np.maximum(open_, close) * (1.0 + reach), np.minimum(open_, close) * (1.0 - reach)
    volume = np.where(halted, 0.0, rng.lognormal(8.0, 2.0, (T, A)))
    return Market(
        tickers=tuple(f"X{a}" for a in range(A)),
        timestamps=np.datetime64("2020-01-01", "us") + np.arange(T) * np.timedelta64(1, "D"),
        close=close,
        open=open_,
        high=high,
        low=low,
        volume=volume,
    )


def part(market: Market, bars: slice = slice(None), assets: list[int] | None = None, scale: float = 1.0) -> Market:
    """Some bars and assets of a market, its prices (not its volumes) multiplied by `scale`."""
    chosen = list(range(market.n_assets)) if assets is None else assets
    columns = {
        name: array[bars][:, chosen] * (1.0 if name == "volume" else scale) for name, array in market.columns.items()
    }
    return Market(
        tickers=tuple(market.tickers[a] for a in chosen),
        timestamps=market.timestamps[bars],
        bars_per_year=market.bars_per_year,
        **columns,
    )
