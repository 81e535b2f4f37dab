"""The long book that a portfolio hedge protects: base weights, what it is hedged with, and what else its rule may look at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InputError
from kernels.market_calendar import when
from kernels.market_rules import some

if TYPE_CHECKING:
    from kernels.market import Market

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LongBook:
    """What a market says of one book of all its assets (`Market.book`, which refuses one that does not fit).

    Parameters
    ----------
    weights
        (A,) base weights as fractions of equity, in the market's ticker order, negative for shorts; what is left of 1 is
        cash. None: a parameter of the strategy says how they come.
    hedge_asset
        The ticker that `inverse` and `put` hedges use; None is the first one.
    frames
        The frames that vote (`kernels.frames`); None is all that the bars allow.
    implied
        (T,) volatility per year as a fraction, as known at the close of each bar; NaN before its first. It is judged in
        place of the realised volatility in the market's regime, and marks index puts.
    beside
        A second market of one ticker: what the assets' correlation with it is taken of (`kernels.second_market`).
    """

    weights: tuple[float, ...] | None = None
    hedge_asset: str | None = None
    frames: tuple[str, ...] | None = None
    implied: FloatArray | None = None
    beside: Market | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(_floats(self.weights, "weights").tolist()))
        if self.frames is not None:
            object.__setattr__(self, "frames", tuple(self.frames))
        if self.implied is not None:
            object.__setattr__(self, "implied", _floats(self.implied, "volatility"))

    def hedge_column(self, tickers: tuple[str, ...]) -> int:
        """The hedge asset's place among the market's tickers."""
        return 0 if self.hedge_asset is None else tickers.index(self.hedge_asset)

    @property
    def beside_ticker(self) -> str | None:
        """The ticker of the second market."""
        return None if self.beside is None else self.beside.tickers[0]

    def until(self, market: Market, bar: int) -> LongBook:
        """The book of the bars of `market` before that one: nothing in it was known later.

        InputError where fewer than two bars of the second market are over by then.
        """
        implied = None if self.implied is None else self.implied[:bar]
        return replace(self, implied=implied, beside=None if self.beside is None else _over(self.beside, market, bar))

    @property
    def digest(self) -> str:
        """SHA-256 over everything in it: another VIX, or other weights, are other data."""
        sha = hashlib.sha256(repr((self.weights, self.hedge_asset, self.frames)).encode())
        if self.implied is not None:
            sha.update(b"\0implied" + np.ascontiguousarray(self.implied).tobytes())
        if self.beside is not None:
            sha.update(b"\0beside" + self.beside.digest.encode())
        return sha.hexdigest()


def book_problems(market: Market, book: LongBook) -> list[str]:
    """The sentences that refuse a book on this market, under the keys that a study file has for it."""
    from kernels.frames import frame_problems  # here, since it imports Market

    problems = [] if book.weights is None else _weight_problems(market.tickers, book.weights)
    if book.hedge_asset is not None and book.hedge_asset not in market.tickers:
        problems.append(
            f"book.hedge_asset: a ticker of the market is needed, got {book.hedge_asset!r}; it has {some(market.tickers)}"
        )
    if book.frames is not None:
        problems += [f"book.{problem}" for problem in frame_problems(market, book.frames)]
    if book.implied is not None:
        problems += _implied_problems(market, book.implied)
    if book.beside is not None and book.beside.n_assets != 1:
        problems.append(
            f"book.beside: a second market of one ticker is needed, got {some(book.beside.tickers)}; name one of them"
        )
    return problems


def _weight_problems(tickers: tuple[str, ...], weights: tuple[float, ...]) -> list[str]:
    if len(weights) != len(tickers):
        return [
            f"book.weights: one weight per ticker is needed, got {len(weights)} for {len(tickers)} tickers; "
            "give 0 to those that are not held"
        ]
    wrong = [f"{ticker} {w:g}" for ticker, w in zip(tickers, weights, strict=True) if not np.isfinite(w)]
    if wrong:
        return [f"book.weights: weights must be finite, got {', '.join(wrong)}; give a fraction of equity, such as 0.2"]
    held = [f"{ticker} {w:g}" for ticker, w in zip(tickers, weights, strict=True) if w != 0.0]
    if not held:
        return [
            "book.weights: all weights are 0, which is no book; give at least one ticker a weight, or leave them out"
        ]
    # decimals such as 0.1 + 0.2 - 0.3 leave a few roundings of the largest weight
    if abs(sum(weights)) <= len(weights) * 2**-52 * max(map(abs, weights)):
        return [
            f"book.weights: their sum must not be 0, got {some(held)}; a book that is neither long nor short on the whole "
            "has no direction to hedge: change a weight, or leave weights out"
        ]
    return []


def _implied_problems(market: Market, implied: FloatArray) -> list[str]:
    if implied.shape != (market.n_bars,):
        return [
            f"book.volatility: one value per bar is needed, got shape {implied.shape} for {market.n_bars} bars; "
            "give it as of each bar (kernels.second_market.values_as_of)"
        ]
    known = np.maximum.accumulate(~np.isnan(implied))
    wrong = np.flatnonzero(known & ~(np.isfinite(implied) & (implied > 0.0)))
    if not wrong.size:
        return []
    first = wrong[0]
    return [
        f"book.volatility: volatility must be a number above 0 once it is known, got {implied[first]:g} at "
        f"{when(market.timestamps[first])}; correct the row, or keep the last value"
    ]


def _over(beside: Market, market: Market, bar: int) -> Market:
    """The bars of the second market that are over when the bar before `bar` closes."""
    from kernels.second_market import as_of  # here, since it imports Market

    count = int(as_of(market, beside)[bar - 1]) + 1
    if count < 2:
        raise InputError(
            f"book.beside: two bars of {beside.tickers[0]} must be over at {when(market.timestamps[bar - 1])}, where the bars "
            f"before bar {bar} end, got {count}; it begins on {when(beside.timestamps[0])}: take a longer file, or leave it out"
        )
    return beside.until(count)


def _floats(values: Any, name: str) -> FloatArray:
    try:
        # -0.0 is 0.0, in digests too
        return np.asarray(values, dtype=np.float64) + 0.0
    except (ValueError, TypeError) as error:
        raise InputError(f"book.{name}: numbers are needed, {error}") from None
