"""A history of listed contracts: each is sold near the tenor and moneyness asked for, held to expiry, marked at its price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cluster.option_config import OptionQuotesMarket
from cluster.quotes import read_quotes
from kernels.black_scholes import SIGNS, quote
from kernels.errors import InputError
from kernels.implied_volatility import implied_volatility
from kernels.market import FloatArray
from kernels.market_calendar import DateArray
from kernels.option_market import DAYS_PER_YEAR, PER_PATH, Contract, OptionMarket

BARS_PER_YEAR = 252.0
DEEPEST = (
    0.05  # of the underlier: a price further below the value of exercise is a wrong strike or unit, not a late trade
)
RIGHTS = {1.0: "C", -1.0: "P"}


@dataclass(frozen=True)
class _Chosen:
    """A listed contract, or with `straddle` the call and the put of one strike and expiry."""

    strike: float
    expiry: np.datetime64


def quoted_market(
    frame: pd.DataFrame, market: OptionQuotesMarket, ticker: str, contract: Contract
) -> tuple[OptionMarket, tuple[str, ...]]:
    """The history of a book that sells the listed contract nearest to `contract`, holds it to expiry, and sells the next.

    On days on which a held contract trades it is marked at its own price; on others by Black-Scholes at the volatility
    its last price implied, and so is a day on which it traded below the value of exercise. The second option, for gamma,
    is a model one: at the money, at the held contract's implied volatility. Where no listed contract is near enough the
    book holds nothing until one is. Also returns sentences that say how often.
    """
    name = market.path
    quotes = read_quotes(frame, name, ticker, market.start, market.end)
    book = _Book(quotes, market, ticker, contract)
    book.run()
    return book.market(), book.notes()


class _Book:
    """The planes of a quoted history as they are filled, cycle by cycle; every array (T,)."""

    def __init__(self, quotes: pd.DataFrame, market: OptionQuotesMarket, ticker: str, contract: Contract) -> None:
        self.quotes, self.options, self.ticker, self.contract = quotes, market, ticker, contract
        self.legs = SIGNS[contract.kind]
        self.where = f"{market.path}, {ticker}"
        self.first = self._first_sale()
        later = quotes[quotes["date"] >= self.first]
        self.dates = np.unique(later["date"].to_numpy().astype("datetime64[us]"))
        if len(self.dates) < 2:
            raise InputError(
                f"{self.where}: a history needs at least 2 days from the first sale on, got {len(self.dates)}"
            )
        self.spot = later.groupby("date")["spot"].median().to_numpy()
        self.by_date = dict(tuple(later.groupby("date")))
        T = len(self.dates)
        self.planes: dict[str, FloatArray] = {key: np.zeros(T) for key in PER_PATH if key != "spot"}
        self.opens = np.zeros(T)
        self.marks = self.carried = self.below = self.flat = self.cycles = 0

    # ---- which contract

    def _near(self, day: pd.DataFrame, dates: DateArray) -> _Chosen | None:
        """The contract to sell on a day, None where no expiry is near enough; InputError where no strike is."""
        tenor = self.contract.tenor_days
        day = day[day["price"].notna()]
        at = day["expiry"].to_numpy().astype("datetime64[us]")
        near = (np.abs(day["days"] - tenor) <= self.options.tenor_tolerance * tenor).to_numpy() & (
            day["days"] > 0
        ).to_numpy()
        near &= np.isin(at, dates) | (
            at > dates[-1]
        )  # it is settled on a day of the history, or bought back at its end
        day = day[near]
        if day.empty:
            return None
        day = day[day["expiry"] == day["expiry"].iloc[int((day["days"] - tenor).abs().to_numpy().argmin())]]
        years = float(day["days"].iloc[0]) / DAYS_PER_YEAR
        spot = float(day["spot"].iloc[0])
        wanted = self.contract.moneyness * spot * np.exp((self.options.rate - self.options.dividend_yield) * years)
        trade = [
            set(leg.loc[np.isfinite(self._implied(leg, sign)), "strike"])
            for sign in self.legs
            for leg in [day[day["right"] == RIGHTS[sign]]]
        ]
        strikes = np.array(sorted(set.intersection(*trade)))
        nearest = float(strikes[np.abs(strikes - wanted).argmin()]) if strikes.size else np.nan
        if not abs(nearest / wanted - 1.0) <= self.options.strike_tolerance:
            found = f"the nearest that trades is {nearest:g}" if strikes.size else "none trades"
            raise InputError(
                f"{self.where}, {day['date'].iloc[0]:%Y-%m-%d}: no {self.contract.kind} is listed within "
                f"{self.options.strike_tolerance:.0%} of strike {wanted:.6g} for expiry {day['expiry'].iloc[0]:%Y-%m-%d}, "
                f"{found}; ask for another contract.moneyness or a wider strike_tolerance"
            )
        return _Chosen(nearest, day["expiry"].iloc[0].to_datetime64().astype("datetime64[us]"))

    def _implied(self, rows: pd.DataFrame, sign: float) -> FloatArray:
        return implied_volatility(
            "call" if sign > 0 else "put",
            rows["price"].to_numpy(),
            rows["spot"].to_numpy(),
            rows["strike"].to_numpy(),
            rows["days"].to_numpy() / DAYS_PER_YEAR,
            self.options.rate,
            self.options.dividend_yield,
        )

    def _first_sale(self) -> pd.Timestamp:
        dates = np.unique(self.quotes["date"].to_numpy().astype("datetime64[us]"))
        for date, day in self.quotes.groupby("date"):
            if self._near(day, dates) is not None:
                return pd.Timestamp(str(date))
        days = self.quotes["days"]
        tenor, tolerance = self.contract.tenor_days, self.options.tenor_tolerance
        raise InputError(
            f"{self.where}: no contract has {tenor:g} days to expiry, give or take {tolerance:.0%}; "
            f"expiries are {days[days > 0].min():g} to {days.max():g} days away; ask for another contract.tenor_days"
        )

    # ---- its marks

    def run(self) -> None:
        """Fill every cycle; InputError where too many marks are carried."""
        t, last = 0, len(self.dates) - 1
        while t < last:
            chosen = self._near(self.by_date[pd.Timestamp(self.dates[t])], self.dates)
            if chosen is None:
                t = self._hold_nothing(t)
                continue
            end = min(int(np.searchsorted(self.dates, chosen.expiry)), last)
            self._hold(t, end, chosen)
            t = end
        share = self.carried / max(self.marks, 1)
        if not self.cycles:
            raise InputError(f"{self.where}: no listed contract expires within the history; take a longer one")
        if share > self.options.max_carried:
            raise InputError(
                f"{self.where}: {self.carried} of {self.marks} marks ({share:.0%}) have no implied volatility of their own and "
                f"would be carried forward, max_carried is {self.options.max_carried:.0%}; ask for a contract that trades "
                "more (contract.tenor_days, contract.moneyness) or raise market.max_carried"
            )

    def _hold_nothing(self, t: int) -> int:
        """From bar t to the next one without an option."""
        self.opens[t] = 1.0
        self.planes["capital"][t + 1] = self.spot[t]
        self.planes["volatility"][t] = self.planes["volatility"][t - 1]
        self.flat += 1
        return t + 1

    def _hold(self, start: int, end: int, chosen: _Chosen) -> None:
        """One contract from the bar it is sold on to its expiry, or to the end of the history."""
        bars = slice(start, end + 1)
        spot, n = self.spot[bars], end - start + 1
        tau = _days(self.dates[bars], chosen.expiry) / DAYS_PER_YEAR
        total = {key: np.zeros(n) for key in ("price", "delta", "gamma", "vega", "volatility", "delivered")}
        for sign in self.legs:
            own, price = self._own_marks(bars, chosen, sign, tau)
            carried = np.asarray(pd.Series(own).ffill(), dtype=np.float64)
            self.marks += n - 1 - int(tau[-1] <= 0.0)
            self.carried += int(np.isnan(own[1:][tau[1:] > 0.0]).sum())
            kind = "call" if sign > 0 else "put"
            greeks = quote(
                kind, spot, np.full(n, chosen.strike), tau, carried, self.options.rate, self.options.dividend_yield
            )
            total["price"] += np.where(np.isnan(own), greeks.price, price)
            for key in ("delta", "gamma", "vega"):
                total[key] += getattr(greeks, key)
            total["volatility"] += carried / len(self.legs)
            total["delivered"] += sign * (sign * (spot - chosen.strike) > 0.0) * (tau <= 0.0)
        side = 1.0 if self.contract.side == "sell" else -1.0
        self.cycles += 1
        self.opens[start] = 1.0
        carried_in, carried_out = slice(start + 1, end + 1), slice(start, end)
        p = self.planes
        p["mark"][carried_in], p["next_mark"][carried_out] = side * total["price"][1:], side * total["price"][:-1]
        p["delivered"][carried_in] = side * total["delivered"][1:]
        for key in ("delta", "gamma", "vega"):
            p[key][carried_out] = side * total[key][:-1]
        p["strike"][carried_out], p["tau"][carried_out] = chosen.strike, tau[:-1]
        p["capital"][carried_in] = spot[0]
        p["volatility"][bars] = total["volatility"]
        if start == 0:
            p["capital"][0] = spot[0]
        self._second(start, end, spot, total["volatility"])

    def _own_marks(self, bars: slice, chosen: _Chosen, sign: float, tau: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Implied volatilities and prices of one leg on each bar, NaN where it has none of its own."""
        rows = self.quotes[
            (self.quotes["strike"] == chosen.strike)
            & (self.quotes["right"] == RIGHTS[sign])
            & (self.quotes["expiry"] == chosen.expiry)
        ]
        dates = self.dates[bars]
        price = rows.groupby("date")["price"].last().reindex(pd.DatetimeIndex(dates)).to_numpy()
        spot = self.spot[bars]
        exercise = np.maximum(sign * (spot - chosen.strike), 0.0)
        deep = np.flatnonzero((exercise - price > DEEPEST * spot) & (tau > 0.0))
        if deep.size:
            at = deep[0]
            row = rows.loc[rows["date"] == dates[at], "row"].iloc[-1]
            what = (
                f"{self.ticker} {pd.Timestamp(dates[at]):%Y-%m-%d}, {chosen.strike:g} {RIGHTS[sign]} at {price[at]:g}"
            )
            raise InputError(
                f"{self.options.path}, row {row} ({what}): it has negative time value, exercise is worth {exercise[at]:g}; "
                "correct the row, or underlying_close where it is adjusted"
            )
        kind = "call" if sign > 0 else "put"
        own = implied_volatility(
            kind,
            np.nan_to_num(price),
            spot,
            np.full(len(spot), chosen.strike),
            tau,
            self.options.rate,
            self.options.dividend_yield,
        )
        self.below += int((np.isnan(own) & (price > 0.0) & (tau > 0.0)).sum())
        return own, price

    def _second(self, start: int, end: int, spot: FloatArray, volatility: FloatArray) -> None:
        length = self.contract.second_tenor * self.contract.tenor_days
        rate, carry = self.options.rate, self.options.dividend_yield
        since = -_days(self.dates[start : end + 1], self.dates[start])
        left = np.maximum(length - since, 0.0) / DAYS_PER_YEAR
        strike = np.full(len(spot), spot[0] * np.exp((rate - carry) * length / DAYS_PER_YEAR))
        other = quote("call", spot, strike, left, volatility, rate, carry)
        p = self.planes
        p["second_mark"][start + 1 : end + 1], p["second_next_mark"][start:end] = other.price[1:], other.price[:-1]
        p["second_delta"][start:end], p["second_gamma"][start:end] = other.delta[:-1], other.gamma[:-1]

    # ---- what comes out

    def market(self) -> OptionMarket:
        """The history as one scenario of one underlier."""
        live = np.ones(len(self.dates))
        live[-1] = 0.0
        per_path: dict[str, Any] = {key: plane[None, :, None] for key, plane in self.planes.items()}
        return OptionMarket(
            (self.ticker,),
            self.dates,
            self.contract,
            BARS_PER_YEAR,
            self.options.rate,
            self.options.dividend_yield,
            -np.diff(_days(self.dates, self.dates[0]), prepend=0.0),
            self.opens,
            live,
            spot=self.spot[None, :, None],
            **per_path,
        )

    def notes(self) -> tuple[str, ...]:
        """What the report has to say of this history."""
        days = f"{pd.Timestamp(self.dates[0]):%Y-%m-%d} to {pd.Timestamp(self.dates[-1]):%Y-%m-%d}"
        found = [
            f"{self.ticker}: {self.cycles} listed contracts held over {len(self.dates)} days, {days}; {self.carried} of "
            f"{self.marks} marks carried forward at the last implied volatility, {self.below} of them because the last "
            "trade stood below the value of exercise",
            f"{self.ticker}: marks are American as quoted; the second option is a European model mark",
        ]
        if self.flat:
            found.append(f"{self.ticker}: on {self.flat} days no listed contract was near enough and nothing was held")
        return tuple(found)


def _days(dates: DateArray, until: np.datetime64) -> FloatArray:
    """Days from each date until one."""
    return np.asarray((until - dates).astype("timedelta64[us]").astype(np.int64) / 86_400e6)
