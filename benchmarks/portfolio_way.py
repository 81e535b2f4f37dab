"""`portfolio_hedge` as a quant writes it for one configuration: signals in pandas, then a loop over bars in NumPy.

A second implementation, written from the rules in words (docs/portfolio_hedge.md and docstrings), which
`tests/test_portfolio_referee.py` holds the kernels against. It is the good case of that way: whatever does not depend on
what is held is worked out beforehand for all bars at once, within a bar all assets are one NumPy array, and what a
configuration switches off, or what is not due at a bar, is left out by a plain `if`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.portfolio_signals import Rule, Signals, signals
from kernels.account import Costs
from kernels.market import FloatArray, Market
from kernels.strategies.portfolio_hedge import STRATEGY

START_CASH, SMALLEST_ORDER = 10_000.0, 1e-8
DEFAULTS = {p.name: p.default for p in STRATEGY.parameters}


def returns(market: Market, configuration: Mapping[str, Any], costs: Costs) -> FloatArray:
    """The return of every bar but the first, (T - 1,), from prices."""
    rule = {**DEFAULTS, **configuration}
    return walked(signals(market, rule, costs), rule, costs)[1:]


def walked(s: Signals, rule: Rule, costs: Costs) -> FloatArray:
    """The return of every bar, (T,), from signals."""
    T, A = s.close.shape
    book = _Book(np.zeros(A), np.zeros(A))
    stops = _Stops(np.zeros(A), np.zeros(A), np.zeros(A), np.zeros(A))
    cover = _Cover()
    agreed, peak, armed, waited, begun = np.zeros(A), START_CASH, False, 0, False
    before = START_CASH
    spread = costs.option_spread
    out = np.zeros(T)
    for t in range(T):
        close = s.close[t]
        income = cover.moved * costs.cash_rate * s.years + cover.puts * s.put_gain[t]
        position = book.units * close
        equity = book.cash + position.sum() + income
        held = position / equity if equity > 0.0 else np.zeros(A)
        peak = max(peak, equity)
        drawdown = 1.0 - equity / peak

        size = s.size[t]
        if rule["agreement"] == "on":
            kept = np.where(np.sign(held) == s.side[t], agreed, 0.0)
            agreed = np.where(np.isnan(s.agreed[t]), kept, s.agreed[t])
            size = size * agreed
        if rule["sizing"] == "on":
            bounded = np.maximum(np.minimum(size, largest(drawdown, rule)), rule["size_min"])
            nothing = (s.side[t] == 0.0) | ((agreed == 0.0) & (rule["agreement"] == "on"))
            size = np.where(nothing, 0.0, np.minimum(bounded, rule["size_max"]))
        target = s.side[t] * size * s.calm[t]

        was_armed, moved, covered = armed, 0.0, 0.0
        if rule["hedge"] != "off" and rule["hedge_strength"] > 0.0:
            e = exposure(target, s.correlation[t], rule["exposure_measure"])
            trigger = rule["hedge_exposure"] * ((1.0 - rule["hedge_hysteresis"]) if armed else 1.0)
            armed = bool(e > trigger and s.allowed[t])
            if armed:
                target, moved, covered = hedged(target, e, s, t, rule)

        gone = np.zeros(A, dtype=bool)
        exits: FloatArray | None = None
        if rule["trailing_exit"] == "on":
            free = s.hedge if was_armed and rule["hedge"] == "inverse" else None
            exits, gone = stops.follow(book, s, t, rule, late=costs.fill == "next_close", free=free)
            target = np.where(gone, 0.0, target)

        waited += 1
        off = np.where(gone, 0.0, np.abs(target - held))
        due = (
            armed != was_armed
            or (not begun and bool(target.any()))
            or triggered(waited, off, held, drawdown, s, t, rule)
        )
        trade = gone if exits is None else gone & (exits == 0.0)
        weight = target
        if due:
            wanted = off * (off >= rule["min_trade"])
            total, most = wanted.sum(), rule["max_turnover"]
            if most is not None and total > most:
                weight = np.where(gone, 0.0, held + most / total * (target - held))
            trade = trade | (wanted > 0.0)
            waited, begun = 0, True

        paid = cover.renew(due, moved, covered, equity, s, t) * spread
        if exits is not None and exits.any():
            book.leave(exits, costs)
        book.cash += income - paid
        if trade.any() and (t + 1 < T or costs.fill == "close"):
            book.trade(trade, weight, s.fill[t], costs)
        value = book.cash + book.units @ close
        out[t] = (value - before) / abs(before)
        before = value
    return out


def largest(drawdown: float, rule: Rule) -> float:
    """The largest position at this drawdown: level, then along a straight line, then level."""
    begin, end = rule["cap_from"], rule["cap_to"]
    share = 1.0 - (1.0 - rule["cap_deep"]) * (drawdown - begin) / (end - begin)
    return float(rule["position_cap"] * min(max(share, rule["cap_floor"]), 1.0))


def exposure(weight: FloatArray, C: FloatArray, measure: str) -> float:
    """sqrt(w' C w), or sum |w| times the mean correlation of open positions, a short being the mirrored asset."""
    if measure == "effective":
        return sqrt(max(weight @ C @ weight, 0.0))
    side = np.sign(weight)
    n = np.count_nonzero(side)
    if n < 2:
        return float(np.abs(weight).sum())
    return float(np.abs(weight).sum() * max(side @ C @ side - side @ (np.diagonal(C) * side), 0.0) / (n * (n - 1)))


def hedged(weight: FloatArray, e: float, s: Signals, t: int, rule: Rule) -> tuple[FloatArray, float, float]:
    """The book with its hedge on; shares of equity that went to cash, and that puts cover."""
    strength, how = rule["hedge_strength"], rule["hedge"]
    if how == "reduce":
        return weight * (1.0 - strength), 0.0, 0.0
    if how == "cash":
        return weight * (1.0 - strength), float(strength * np.abs(weight).sum()), 0.0
    book_beta = float(weight @ s.beta[t])
    if how == "put":
        return weight, 0.0, strength * max(book_beta, 0.0)
    hedge = np.zeros_like(weight)
    hedge[s.hedge] = strength * (book_beta if rule["beta_adjusted"] == "yes" else e * np.sign(weight.sum()))
    return weight - hedge, 0.0, 0.0


def triggered(waited: int, off: FloatArray, held: FloatArray, drawdown: float, s: Signals, t: int, rule: Rule) -> bool:
    """Whether a trigger that is set says to rebalance."""
    asked = {n: rule[f"rebalance_{n}"] for n in ("bars", "drift", "volatility", "correlation", "drawdown")}
    return bool(
        (asked["bars"] is not None and waited >= asked["bars"])
        or (asked["drift"] is not None and off.max() > asked["drift"])
        or (asked["drawdown"] is not None and drawdown > asked["drawdown"])
        or (asked["correlation"] is not None and s.mean_rho[t] > asked["correlation"])
        or (
            asked["volatility"] is not None
            and exposure(held * s.volatility[t], s.correlation[t], "effective") > asked["volatility"]
        )
    )


@dataclass
class _Book:
    """Units and mean entry prices (A,), and the one cash account."""

    units: FloatArray
    entry: FloatArray
    cash: float = START_CASH

    def leave(self, exits: FloatArray, costs: Costs) -> None:
        """Close at the price of the stop where there is one."""
        fee, slippage = costs.fee_bps / 1e4, costs.slippage_bps / 1e4
        per_unit = np.where(self.units > 0.0, (1 - slippage) * (1 - fee), (1 + slippage) * (1 + fee))
        self.cash += float((self.units * exits * per_unit).sum())
        self.units = np.where(exits > 0.0, 0.0, self.units)
        self.entry = np.where(exits > 0.0, 0.0, self.entry)

    def trade(self, trade: FloatArray, weight: FloatArray, fill: FloatArray, costs: Costs) -> None:
        """Sell what is to be sold, then buy with the cash there is, everything alike where it is not enough."""
        fee, slippage = costs.fee_bps / 1e4, costs.slippage_bps / 1e4
        equity = self.cash + self.units @ fill
        if equity <= 0.0:
            return
        order = np.where(trade, weight * equity / fill - self.units, 0.0)
        order[np.abs(order) < SMALLEST_ORDER] = 0.0
        sold, bought = np.minimum(order, 0.0), np.maximum(order, 0.0)
        self.cash -= (sold @ fill) * (1 - slippage) * (1 - fee)
        needed = (bought @ fill) * (1 + slippage) * (1 + fee)
        if needed > max(self.cash, 0.0):
            bought = bought * (max(self.cash, 0.0) / needed)
            bought[bought < SMALLEST_ORDER] = 0.0
        self.cash -= (bought @ fill) * (1 + slippage) * (1 + fee)
        held = self.units + sold + bought
        same = np.sign(held) == np.sign(self.units)
        grown = same & (np.abs(held) > np.abs(self.units))
        mean = self.entry + (fill - self.entry) * np.divide(sold + bought, held, out=np.zeros_like(held), where=grown)
        self.entry = np.where(held == 0.0, 0.0, np.where(same, np.where(grown, mean, self.entry), fill))
        self.units = held


@dataclass
class _Stops:
    """Of each position that is watched: direction (0: none), level, best price, bars held; (A,) each."""

    way: FloatArray
    level: FloatArray
    best: FloatArray
    bars: FloatArray

    def follow(
        self, book: _Book, s: Signals, t: int, rule: Rule, *, late: bool, free: int | None
    ) -> tuple[FloatArray, FloatArray]:
        """Exit prices of the stops that this bar reached (0: none), and which positions are to go, those past their time too.

        `late` says that what was bought was bought at this bar's close; `free` is an asset that no stop watches.
        """
        way = np.sign(book.units)
        if free is not None:
            way[free] = 0.0
        if not way.any():
            self.way = way
            return np.zeros_like(way), np.zeros(len(way), dtype=bool)
        entry = book.entry
        fresh = way != self.way
        initial = entry * (1.0 - way * rule["initial_stop"])
        level = np.where(fresh, initial, self.level)
        long = way > 0.0
        hit = (way != 0.0) & np.where(long, s.low[t] <= level, s.high[t] >= level)
        best = np.where(fresh, entry, self.best)
        seen = np.where(long, np.maximum(best, s.high[t]), np.minimum(best, s.low[t]))
        if late:
            hit &= ~fresh
            seen = np.where(fresh, entry, seen)
        price = np.where(hit, np.where(long, np.minimum(s.open[t], level), np.maximum(s.open[t], level)), 0.0)
        safe = np.where(entry > 0.0, entry, 1.0)
        gain = way * (seen / safe - 1.0)
        wanted = np.where(gain >= rule["break_even_from"], entry, initial)
        wanted = np.where(gain >= rule["lock_from"], entry * (1.0 + way * rule["lock_share"] * gain), wanted)
        trails = (gain >= rule["trail_from"]) & (s.atr[t] > 0.0)
        wanted = np.where(trails, seen - way * rule["trail_atr"] * s.atr[t], wanted)
        self.level = np.where(long, np.maximum(level, wanted), np.minimum(level, wanted))
        self.best = seen
        self.bars = np.where(fresh, 1.0, self.bars + 1.0)
        overdue = (way != 0.0) & ~hit & (self.bars >= rule["max_hold_bars"])
        overdue &= way * (s.close[t] / safe - 1.0) < rule["min_profit"]
        self.way = np.where(hit, 0.0, way)
        return price, hit | overdue


@dataclass
class _Cover:
    """What is held beside the book: dollars that were moved to cash, puts in units of the hedge asset."""

    moved: float = 0.0
    puts: float = field(default=0.0)

    def renew(self, due: bool, moved: float, covered: float, equity: float, s: Signals, t: int) -> float:
        """Take on what is due; the premium that changes hands, in dollars."""
        if due:
            self.moved = moved * equity
        elif moved == 0.0:
            self.moved = 0.0
        had, rolls, price = self.puts, s.put_rolls[t] > 0.0, s.put_price[t]
        if due or rolls:
            self.puts = covered * equity / s.close[t][s.hedge]
        if covered == 0.0 or price <= 0.0:
            self.puts = 0.0
        return (self.puts if rolls else abs(self.puts - had)) * price
