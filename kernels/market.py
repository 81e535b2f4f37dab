"""A market: the price history that every configuration is backtested on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
DateArray = NDArray[np.datetime64]


@dataclass(frozen=True)
class Market:
    """Aligned bars of A assets over T timestamps.

    Parameters
    ----------
    tickers
        A names.
    timestamps
        (T,) `datetime64[us]`, UTC, strictly increasing.
    close, open, high, low
        (T, A) prices, finite and positive; all but `close` may be None (a market of closes only).
    volume
        (T, A) traded volume in base units, not negative, or None.
    bars_per_year
        Bars that make a year: 365 for daily crypto, 252 for daily US stocks.
    """

    tickers: tuple[str, ...]
    timestamps: DateArray
    close: FloatArray
    open: FloatArray | None = None
    high: FloatArray | None = None
    low: FloatArray | None = None
    volume: FloatArray | None = None
    bars_per_year: float = 365.0

    @property
    def n_bars(self) -> int:
        """T."""
        return int(self.close.shape[0])

    @property
    def n_assets(self) -> int:
        """A."""
        return int(self.close.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over tickers, timestamps, every price and volume, and bars_per_year: names this data in records."""
        sha = hashlib.sha256()
        sha.update("\0".join(self.tickers).encode())
        sha.update(self.timestamps.astype("datetime64[us]").tobytes())
        for name in ("open", "high", "low", "close", "volume"):
            array = getattr(self, name)
            sha.update(name.encode() + b"\0")
            if array is not None:
                sha.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
        sha.update(np.float64(self.bars_per_year).tobytes())
        return sha.hexdigest()
