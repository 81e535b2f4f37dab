"""The account: what an order costs and what the bar then returns. One cash account per asset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from kernels.errors import InputError
from kernels.market import FloatArray
from kernels.metric import Metric
from kernels.ops import Value, as_number, sign, sum_assets, where
from kernels.state import per_asset

START_CASH = 10_000.0
CASH_RATES = "from -0.05 to 0.25 a year"  # no currency of the last forty years was outside for long
SMALLEST_ORDER = 1e-8  # units of the asset; exchanges round such orders to nothing

Fill = Literal["next_open", "next_close", "close"]
Impact = Literal["none", "linear", "square_root"]
IMPACTS: tuple[Impact, ...] = ("none", "linear", "square_root")
FILLS: tuple[Fill, ...] = ("next_open", "next_close", "close")


@dataclass(frozen=True, slots=True)
class Costs:
    """The trading environment, never searched: fee and slippage in basis points per side, and the fill price.

    An order of bar t fills at the open (`next_open`) or close (`next_close`) of bar t+1, or at the close of bar t
    (`close`: the signal has seen that close, so every report flags it). Options pay `option_spread`, half their spread as
    a fraction of the mark. A trade of x dollars pays impact `linear` (coefficient * x^2) or `square_root`
    (coefficient * daily volatility * x * sqrt(x / adv)), where x scales with `capital` dollars and `adv` is what the
    market trades in a day. Cash that a hedge moves out of the market earns `cash_rate` per year.
    """

    fee_bps: float = 4.0
    slippage_bps: float = 5.0
    fill: Fill = "next_open"
    option_spread: float = 0.0
    impact: Impact = "none"
    impact_coefficient: float = 0.0
    capital: float = 1e6
    adv: float = 1e9
    cash_rate: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            f"costs.{name}: 0 <= {name} < 10000 basis points must hold, got {value!r}"
            for name, value in (("fee_bps", self.fee_bps), ("slippage_bps", self.slippage_bps))
            if not 0.0 <= value < 10_000.0
        ]
        problems += [
            f"costs.{name}: {name} {rule} must hold, got {value!r}"
            for name, value, rule, kept in (
                ("option_spread", self.option_spread, "from 0 to below 1", 0.0 <= self.option_spread < 1.0),
                ("impact_coefficient", self.impact_coefficient, "of 0 or more", self.impact_coefficient >= 0.0),
                ("capital", self.capital, "above 0", self.capital > 0.0),
                ("adv", self.adv, "above 0", self.adv > 0.0),
                ("cash_rate", self.cash_rate, CASH_RATES, -0.05 <= self.cash_rate <= 0.25),
            )
            if not kept
        ]
        if self.impact not in IMPACTS:
            problems.append(f"costs.impact: choose one of {', '.join(IMPACTS)}, got {self.impact!r}")
        if self.fill not in FILLS:
            problems.append(f"costs.fill: choose one of {', '.join(FILLS)}, got {self.fill!r}")
        if problems:
            raise InputError(problems)

    def times(self, multiple: float) -> Costs:
        """The same environment with every fee, spread and impact so many times as high; InputError beyond all bounds."""
        return replace(
            self,
            fee_bps=self.fee_bps * multiple,
            slippage_bps=self.slippage_bps * multiple,
            option_spread=self.option_spread * multiple,
            impact_coefficient=self.impact_coefficient * multiple,
        )

    @property
    def free(self) -> frozenset[str]:
        """The impacts that are zero: a bar step sees None and leaves them out, which changes no result."""
        return frozenset(name for name in ("linear_impact", "square_root_impact") if self.fractions[name] == 0.0)

    @property
    def fractions(self) -> dict[str, float]:
        """What the bar step reads as `costs.<name>`."""
        return {
            "fee": self.fee_bps / 1e4,
            "slippage": self.slippage_bps / 1e4,
            "option_spread": self.option_spread,
            "linear_impact": self.impact_coefficient if self.impact == "linear" else 0.0,
            "square_root_impact": self.impact_coefficient if self.impact == "square_root" else 0.0,
            "capital": self.capital,
            "adv": self.adv,
            "cash_rate": self.cash_rate,
            "late": float(self.fill == "next_close"),  # an order is filled when the bar after it is over
        }


class NoParts(NamedTuple):
    """An account that keeps no sums of its own."""


def no_measures(sums: Mapping[str, FloatArray], bars: float, years: float) -> dict[str, FloatArray]:
    """An account without metrics of its own."""
    return {}


class Accounting(NamedTuple):
    """How orders become returns, and what is kept and measured of it.

    `start` is the account's state before the first bar. `execute(order, account, bar, costs, n_assets) -> (Outcome,
    account)` is one bar of it, in the array language. `value(account, planes) -> (A, C)` after a bar, of arrays: planes
    (A, 1) by name. `parts` is a NamedTuple class of accumulators: what each Outcome's `parts` are added to, block by block;
    `metrics` are made of these sums by `measure(sums, bars, years) -> {name: (C,)}`, where `sums` has `parts.<name>`.
    """

    start: Callable[[], Any]
    execute: Callable[..., tuple[Outcome, Any]]
    value: Callable[[Any, Mapping[str, Any]], Any]
    parts: Callable[[], Any] = NoParts
    metrics: tuple[Metric, ...] = ()
    measure: Callable[[Mapping[str, FloatArray], float, float], dict[str, FloatArray]] = no_measures


class Order(NamedTuple):
    """What a strategy wants of the account at this bar, per asset.

    `weight` is the target position as a fraction of the asset's equity (negative: short); `trade` says whether to trade
    to it now, else the position drifts.
    """

    weight: Value
    trade: Value


class Account(NamedTuple):
    """Cash, units held, and the equity when the present position was opened. Its value is cash + units * close."""

    cash: Any = per_asset(START_CASH)
    units: Any = per_asset(0.0)
    opened_at: Any = per_asset(START_CASH)


class Outcome(NamedTuple):
    """What one bar did to the portfolio, (C,) each; amounts are fractions of equity before the bar, mean over assets."""

    bar_return: Value
    turnover: Value  # traded notional
    cost: Value  # fees and slippage
    gross: Value  # |position|
    net: Value  # position
    hedged: Value  # share of assets held short
    orders: Value  # executed orders, counted
    trades: Value  # positions closed or reversed, counted
    wins: Value  # of these, with equity above that at their opening
    parts: Any = NoParts()  # what the account keeps beside these


def execute(order: Order, account: Account, bar: Any, costs: Any, n_assets: int) -> tuple[Outcome, Account]:
    """Fill the order at `bar.fill`, mark at `bar.close`: specs of the published sweep, rule for rule.

    Buying is limited by cash; selling is not, so shorts may reach the leverage cap. An account without equity trades
    no more. Each asset has its own account and the portfolio returns the plain mean of the asset returns.
    """
    buy = (1.0 + costs.slippage) * (1.0 + costs.fee)
    sell = (1.0 - costs.slippage) * (1.0 - costs.fee)
    equity = account.cash + account.units * bar.fill
    wanted = order.weight * equity * (1.0 / bar.fill) - account.units
    affordable = account.cash * (1.0 / (buy * bar.fill))
    short_of_cash = wanted > affordable
    units = where(short_of_cash, affordable, wanted)
    done = order.trade & (bar.fillable > 0.0) & (equity > 0.0) & (abs(units) >= SMALLEST_ORDER)
    units = where(done, units, 0.0)
    notional = units * bar.fill
    paid = notional * where(units > 0.0, buy, sell)
    cash = where(done & short_of_cash, 0.0, account.cash - paid)
    held = account.units + units
    exposed = held * bar.close
    value = cash + exposed

    # One reciprocal serves all ratios of the bar; a difference over it is exactly zero when nothing changed.
    value_before = account.cash + account.units * bar.previous_close
    per_equity = 1.0 / abs(value_before)
    share = 1.0 / n_assets
    before, after = sign(account.units), sign(held)
    turned = before != after
    closed = turned & (before != 0.0)
    left = equity - (paid - notional)  # a reversal's cost falls on the position it closes, an opening's on its own
    opened_at = where(turned & (after != 0.0), where(closed, left, equity), account.opened_at)
    won = closed & (left > account.opened_at)
    outcome = Outcome(
        bar_return=sum_assets((value - value_before) * per_equity) * share,
        turnover=sum_assets(abs(notional) * per_equity) * share,
        cost=sum_assets((paid - notional) * per_equity) * share,
        gross=sum_assets(abs(exposed) * per_equity) * share,
        net=sum_assets(exposed * per_equity) * share,
        hedged=sum_assets(as_number(held < 0.0)) * share,
        orders=sum_assets(as_number(done)),
        trades=sum_assets(as_number(closed)),
        wins=sum_assets(as_number(won)),
    )
    return outcome, Account(cash, held, opened_at)


def value(account: Account, planes: Mapping[str, Any]) -> Any:
    """Cash and units at the close."""
    return account.cash + account.units * planes["close"]


CASH_PER_ASSET = Accounting(Account, execute, value)
