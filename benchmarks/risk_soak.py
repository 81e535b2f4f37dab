"""Random orders, closes, prices and equities, in one thread or several, and a referee with books of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from kernels.market import FloatArray
from kernels.risk_limits import Decision, RiskLimits
from kernels.risk_settings import Limits

REGIMES = ("bull", "bear", "ranging", None)
BARS_EVERY = 2_000  # orders between two bars
# A sum of 200 positions, each rounded once, and the rounding of the room itself: 202 * 2**-52 < 1e-13.
ROUNDING = 1e-13
ANSWERS = ("allowed whole", "reduced", "refused")
KINDS = tuple(product(("net", "gross"), (False, True)))  # (exposure, pyramiding): the kinds of book that are soaked
Key = tuple[str, str, str | None]


@dataclass
class Soak:
    """What became of the orders."""

    orders: int
    seconds: float = 0.0
    most_open: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def count(self, decision: Decision) -> None:
        """One more answer."""
        whole, reduced, refused = ANSWERS
        self.answers[refused if not decision else reduced if decision.multiplier < 1.0 else whole] += 1


def symbols(count: int) -> list[str]:
    """Names of made-up symbols."""
    return [f"SYN{i + 1}" for i in range(count)]


def closes(
    bars: int, count: int, seed: int, *, group: int = 4, tightness: float = 0.88, mirrored: bool = True
) -> FloatArray:
    """Closes (T, A) of symbols in groups whose returns correlate by `tightness`, every second one mirrored where asked."""
    random = np.random.default_rng(seed)
    common = np.repeat(random.standard_normal((bars, -(-count // group))), group, axis=1)[:, :count]
    sign = np.where(np.arange(count) % 2, -1.0 if mirrored else 1.0, 1.0)
    moves = sign * (np.sqrt(tightness) * common + np.sqrt(1.0 - tightness) * random.standard_normal((bars, count)))
    prices: FloatArray = 100.0 * np.exp(np.cumsum(0.02 * moves, axis=0))
    return prices


def hourly(bars: int) -> NDArray[np.datetime64]:
    """Timestamps (T,) of hourly bars."""
    return np.datetime64("2026-01-01T00:00", "us") + np.arange(bars) * np.timedelta64(3_600_000_000, "us")


def soak(orders: int, seed: int, limits: Limits, *, count: int = 60) -> Soak:
    """`orders` random orders into one book, each allowed one judged by `judge`; AssertionError at the first it breaks."""
    random, names, result = np.random.default_rng(seed), symbols(count), Soak(orders)
    bars = 110 + orders // BARS_EVERY
    prices, stamps = closes(bars, count, seed), hourly(bars)
    book: dict[Key, float] = {}
    equity = 1_000_000.0
    asked = RiskLimits(limits, equity=equity)
    known = count - 1  # the last has no prices: its correlations are not known
    asked.update_prices(stamps[:110], {name: prices[:110, i] for i, name in enumerate(names[:known])})
    began = time.perf_counter()
    chosen = random.integers(0, count, orders).tolist()
    sides = np.where(random.random(orders) < 0.5, "long", "short").tolist()
    sizes = random.lognormal(np.log(10_000.0), 1.2, orders).tolist()  # a median of 1 % of equity
    regimes = random.integers(0, len(REGIMES), orders).tolist()
    chances = random.random(orders).tolist()
    for n in range(orders):
        if n % BARS_EVERY == BARS_EVERY - 1:
            bar = 110 + n // BARS_EVERY
            asked.update_prices(stamps[bar], {name: prices[bar, i] for i, name in enumerate(names[:known])})
            equity = 1_000_000.0 * float(random.uniform(0.8, 1.2))
            asked.update_equity(equity)
        if book and chances[n] < 0.5:
            shut(asked, book, random)
        symbol, side, wanted, regime = names[chosen[n]], sides[n], sizes[n], REGIMES[regimes[n]]
        decision = asked.check_and_open(symbol, side, wanted, regime)
        result.count(decision)
        assert 0.0 <= decision.multiplier <= 1.0, (n, decision)
        assert decision.allowed == (decision.multiplier > 0.0), (n, decision)
        if decision:
            key = (symbol, side, regime)
            book[key] = book.get(key, 0.0) + wanted * decision.multiplier
            judge(book, limits, equity, key)
            result.most_open = max(result.most_open, len({k[:2] for k in book}))
    result.seconds = time.perf_counter() - began
    assert result.answers["refused"] == asked.stats().blocked_trades
    assert result.answers["reduced"] == asked.stats().reduced_trades
    return result


def shut(asked: RiskLimits, book: dict[Key, float], random: np.random.Generator) -> None:
    """Close one position of the book, whole."""
    symbol, side, _ = list(book)[int(random.integers(len(book)))]
    asked.close(symbol, side)
    for key in [key for key in book if key[:2] == (symbol, side)]:
        del book[key]


def judge(book: dict[Key, float], limits: Limits, equity: float, order: Key) -> None:
    """AssertionError where the exposures that an order has added to are beyond their limits, summed from the whole book."""
    symbol, side, regime = order
    held = {s: sum(v for (name, its, _), v in book.items() if (name, its) == (symbol, s)) for s in ("long", "short")}
    against = held["short" if side == "long" else "long"]
    own = held[side] - against if limits.exposure == "net" else held[side] + against
    exposures = [
        (own, limits.symbol_limit),
        (sum(v for (_, its, _), v in book.items() if its == side), limits.direction_limit),
        (sum(v for (_, _, its), v in book.items() if its is not None and its == regime), limits.regime_limit),
    ]
    for exposure, limit in exposures:
        assert exposure <= equity * limit * (1.0 + ROUNDING), (order, exposure / equity, limit)


def together(orders: int, seed: int, limits: Limits, *, threads: int = 8, count: int = 24) -> Soak:
    """`threads` threads that ask, open, close and tell prices of one book at once; then its sums against theirs.

    AssertionError where an exception came out of a thread, the books do not add up, or a limit does not hold.
    """
    names, result = symbols(count), Soak(orders)
    asked = RiskLimits(limits, equity=1_000_000.0)
    prices = closes(200 + threads, count, seed)
    stamps = hourly(len(prices))
    asked.update_prices(stamps[:200], {name: prices[:200, i] for i, name in enumerate(names)})
    books: list[dict[Key, float]] = [{} for _ in range(threads)]
    answers: list[list[Decision]] = [[] for _ in range(threads)]
    failures: list[BaseException] = []
    gate = threading.Barrier(threads)

    def trade(mine: int) -> None:
        try:
            random, book = np.random.default_rng((seed, mine)), books[mine]
            own = names[mine::threads]  # a thread closes only what it opened
            gate.wait()
            for n in range(orders // threads):
                if book and random.random() < 0.5:
                    shut(asked, book, random)
                symbol, side = own[int(random.integers(len(own)))], ("long", "short")[int(random.integers(2))]
                wanted, regime = float(random.lognormal(11.0, 1.0)), REGIMES[int(random.integers(len(REGIMES)))]
                asked.check(symbol, side, wanted, regime)  # registers nothing
                decision = asked.check_and_open(symbol, side, wanted, regime)
                answers[mine].append(decision)
                if decision:
                    key = (symbol, side, regime)
                    book[key] = book.get(key, 0.0) + wanted * decision.multiplier
                if n == orders // threads // 2:
                    asked.update_prices(
                        stamps[200 + mine], {name: prices[200 + mine, names.index(name)] for name in own}
                    )
                within(asked, limits)
        except BaseException as error:
            failures.append(error)

    began = time.perf_counter()
    workers = [threading.Thread(target=trade, args=(mine,)) for mine in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    result.seconds = time.perf_counter() - began
    assert not failures, failures
    for decision in (d for mine in answers for d in mine):
        result.count(decision)
    add_up(asked, books, limits)
    return result


def within(asked: RiskLimits, limits: Limits) -> None:
    """AssertionError where a book of gross limits and unchanging equity is beyond one: it can never be."""
    seen = asked.stats()
    bounds = [
        (max(seen.symbol_exposures.values(), default=0.0), limits.symbol_limit),
        (max(seen.long_exposure, seen.short_exposure), limits.direction_limit),
        (max(seen.regime_exposures.values(), default=0.0), limits.regime_limit),
    ]
    for exposure, limit in bounds:
        assert exposure <= limit * (1.0 + ROUNDING), (exposure, limit)


def add_up(asked: RiskLimits, books: list[dict[Key, float]], limits: Limits) -> None:
    """AssertionError where the book is not the sum of what the threads opened and closed."""
    seen, sums = asked.stats(), Counter[str]()
    for (symbol, side, regime), value in (item for book in books for item in book.items()):
        sums[symbol] += value
        sums[side] += value
        sums[f"regime {regime}"] += value
    told = {"long": seen.long_exposure, "short": seen.short_exposure} | seen.symbol_exposures
    told |= {f"regime {name}": value for name, value in seen.regime_exposures.items()}
    assert seen.open_positions == len({key[:2] for book in books for key in book})
    for name, value in told.items():
        assert abs(value - sums[name] / 1_000_000.0) <= ROUNDING, (name, value, sums[name])
    assert limits.exposure == "gross"
    assert set(told) | {"regime None"} >= set(sums)
