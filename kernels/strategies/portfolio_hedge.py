"""A long book on one account with five protective features: how much drawdown is bought off, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kernels import book_planes as planes
from kernels.account import START_CASH, Costs
from kernels.book_hedge import INVERSE, MEASURES, METHODS, REGIME_SETS, hedge_book
from kernels.book_sizes import agreement_size, by_label, kelly_size
from kernels.exposure import effective_exposure
from kernels.frames import frame_problems, frames_of
from kernels.indicators import true_range_average
from kernels.long_book import LongBook
from kernels.market import Market
from kernels.ops import max_assets, maximum, sign, sum_assets, where
from kernels.regime import REGIMES
from kernels.shared_account import SHARED_ACCOUNT, BookOrder
from kernels.sizing_planes import range_ratio
from kernels.state import per_asset, scalar
from kernels.strategy import Asked, Feature, Parameter, Plane, Strategy
from kernels.trailing_exit import Trail, trailing_exit
from kernels.windows import window_problems

RANGE_WINDOW, ATR_WINDOW = 90, 14  # bars
SWITCH = ("off", "on")
ON = 1.0
REGIMES_OF = ("market", "asset")
YES_NO = ("no", "yes")


class Rule(NamedTuple):
    """What the five features remember, and when the book was last rebalanced; dollars and units for the hedges' income."""

    trail: Trail = Trail()
    agreed: Any = per_asset(0.0)  # what agreement made of the size
    begun: Any = scalar(0.0)
    waited: Any = scalar(0.0)
    peak: Any = scalar(START_CASH)
    armed: Any = scalar(0.0)
    exposure: Any = scalar(0.0)  # of the book before its hedge, for figures
    moved: Any = scalar(0.0)  # dollars in cash that earn its rate
    puts: Any = scalar(0.0)  # units of the hedge asset that puts cover


def step(bar: Any, state: Rule, p: Any) -> tuple[BookOrder, Rule]:
    """Signal, agreement, sizing, regime, hedge, limits, stops: then what is due is ordered."""
    account = bar.account
    rolls = max_assets(bar.put_rolls) > 0.0
    income = state.moved * bar.costs.cash_rate * bar.years + state.puts * sum_assets(bar.put_gain)
    position = account.units * bar.close
    equity = account.cash + sum_assets(position) + income
    per_equity = where(equity > 0.0, 1.0 / equity, 0.0)
    held = position * per_equity
    peak = maximum(state.peak, equity)
    drawdown = 1.0 - equity / peak

    side = sign(bar.base_weight)
    agreed = where(p.agreement == ON, agreement_size(bar.alignment, side, state.agreed, held, p), 1.0)
    kelly = where(side < 0.0, bar.kelly_short, bar.kelly_long)
    sized = kelly_size(bar.base_weight, agreed, kelly, bar.range_ratio, drawdown, p)
    size = where(p.sizing == ON, sized, abs(bar.base_weight) * agreed)
    market_label = max_assets(bar.market_regime)
    label = where(p.regime_of == ON, bar.asset_regime, market_label)
    exposures = [getattr(p, f"exposure_{name}") for name in REGIMES]
    calm = where(p.regime == ON, by_label(label, exposures), 1.0)
    hedged = hedge_book(side * size * calm, state.armed, market_label, bar, p)
    target = hedged.weight

    guarded = (p.trailing_exit == ON) & ~((bar.hedge_asset > 0.0) & (state.armed > 0.0) & (p.hedge == INVERSE))
    left, trail = trailing_exit(state.trail, account.units, account.entry, guarded, bar, p)
    gone = (left.price > 0.0) | left.overdue
    target = where(gone, 0.0, target)

    waited = state.waited + 1.0
    moved = where(gone, 0.0, abs(target - held))
    due = (hedged.armed != state.armed) | ((state.begun == 0.0) & (sum_assets(abs(target)) > 0.0))
    due = due | _triggered(waited, max_assets(moved), held, drawdown, bar, p)
    wanted = where(moved >= p.min_trade, moved, 0.0)
    total = sum_assets(wanted)
    reach = 1.0 if p.max_turnover is None else where(total > p.max_turnover, p.max_turnover / total, 1.0)
    weight = where(gone, 0.0, held + reach * (target - held))
    trade = left.overdue | (due & (wanted > 0.0))
    limited = bar.limited(where(gone, 0.0, where(trade, weight, held)), held, market_label)
    weight, trade = limited.weight, trade & (limited.weight != held)

    renewed = due | rolls
    puts = where(renewed, hedged.covered * equity / max_assets(bar.hedge_asset * bar.close), state.puts)
    price = sum_assets(bar.put_price)
    puts = where((hedged.covered > 0.0) & (price > 0.0), puts, 0.0)
    bought = where(rolls, puts, abs(puts - state.puts))
    paid = bought * price * bar.costs.option_spread
    order = BookOrder(weight, trade, left.price, income - paid, paid, hedged.armed, limited.cuts, limited.refusals)
    return order, Rule(
        trail=trail,
        agreed=agreed,
        begun=where(due, 1.0, state.begun),
        waited=where(due, 0.0, waited),
        peak=peak,
        armed=hedged.armed,
        exposure=hedged.exposure,
        moved=where(due, hedged.moved * equity, where(hedged.moved > 0.0, state.moved, 0.0)),
        puts=puts,
    )


def _triggered(waited: Any, drift: Any, held: Any, drawdown: Any, bar: Any, p: Any) -> Any:
    """Whether one of the triggers that are set asks to rebalance, (C,)."""
    due = waited < 0.0  # never, by itself
    if p.rebalance_bars is not None:
        due = due | (waited >= p.rebalance_bars)
    if p.rebalance_drift is not None:
        due = due | (drift > p.rebalance_drift)
    if p.rebalance_volatility is not None:
        due = due | (effective_exposure(held * bar.volatility, bar.factors) > p.rebalance_volatility)
    if p.rebalance_correlation is not None:
        due = due | (max_assets(bar.mean_rho) > p.rebalance_correlation)
    if p.rebalance_drawdown is not None:
        due = due | (drawdown > p.rebalance_drawdown)
    return due


def warm_up(parameters: Mapping[str, Any]) -> int:
    """Bars until every plane is known: the longest window of all; weekly candles are taken as seven bars."""
    p = parameters
    longest = [p[name] for name in ("base_window", "kelly_window", "correlation_window", "beta_window")]
    regime = p["regime_window"] + p["regime_memory"] + p["confirm_bars"]
    return int(max(*longest, regime, 7 * (p["frame_window"] + 1), RANGE_WINDOW + ATR_WINDOW)) + 1


def unfit(market: Market, asked: Asked, costs: Costs) -> list[str]:
    """The sentences that refuse windows which the market does not fill, and a stop that costs alone would reach."""
    book = market.book or LongBook()
    problems = []
    for name in ("correlation_window", "beta_window", "kelly_window", "base_window"):
        longest = float(np.max(asked.get(name, (2.0,))))
        refused = window_problems(name, [longest], market.n_bars - 1)
        problems += [f"parameter '{name}'{sentence.removeprefix(name)}" for sentence in refused]
    frames = frames_of(market.calendar.step) if book.frames is None else book.frames
    problems += frame_problems(
        market, frames, [float(np.max(asked["frame_window"]))] if "frame_window" in asked else ()
    )
    spread = 2.0 * (costs.fee_bps + costs.slippage_bps) / 1e4
    tightest = float(np.min(asked.get("initial_stop", np.inf)))
    if tightest <= spread:
        problems.append(
            f"parameter 'initial_stop': a stop of {tightest:.2%} is inside the spread, since going in and out costs "
            f"{spread:.2%}; ask for more than that, or correct costs.fee_bps and costs.slippage_bps"
        )
    return problems


def in_desk_words(p: Mapping[str, Any]) -> str:
    """A configuration as an instruction.

    >>> off = {"sizing": "off", "regime": "off", "trailing_exit": "off", "agreement": "off", "hedge": "off"}
    >>> in_desk_words({p.name: p.default for p in STRATEGY.parameters} | off)
    'hold the base book as given; no protection; rebalance every 5 bars or when a weight is 5% off'
    """
    book = {
        "given": "the base book as given",
        "equal": "all assets in equal parts",
        "inverse_volatility": f"all assets by the inverse of their volatility over {p['base_window']:g} bars",
    }
    told = [f"hold {book[p['base']]}"]
    if p["sizing"] == "on":
        told.append(
            f"size each position at {p['kelly_fraction']:.3g} x Kelly of {p['kelly_window']:g} bars, at most "
            f"{p['position_cap']:.1%} of equity, less in drawdown"
        )
    if p["regime"] == "on":
        sizes = ", ".join(f"{p[f'exposure_{name}']:.3g} x when {name.replace('_', ' ')}" for name in REGIMES)
        told.append(f"by the {p['regime_of']}'s regime of {p['regime_window']:g} bars hold {sizes}")
    if p["agreement"] == "on":
        told.append(f"open only where frames agree by {p['agreement_least']:.0%}")
    if p["trailing_exit"] == "on":
        told.append(
            f"stop {p['initial_stop']:.1%} below entry, at entry from {p['break_even_from']:.1%} profit, "
            f"{p['trail_atr']:.3g} average true ranges behind the best from {p['trail_from']:.1%}"
        )
    if p["hedge"] != "off":
        how = {
            "reduce": f"cut everything by {p['hedge_strength']:.0%}",
            "cash": f"move {p['hedge_strength']:.0%} to cash",
            "inverse": f"short the hedge asset against {p['hedge_strength']:.0%} of the exposure",
            "put": f"cover {p['hedge_strength']:.0%} of the exposure with puts",
        }[p["hedge"]]
        where_to = "" if p["hedge_regimes"] == "any" else f" and the market is {p['hedge_regimes'].replace('_', ' ')}"
        told.append(f"while exposure is above {p['hedge_exposure']:.1%} of equity{where_to}, {how}")
    if len(told) == 1:
        told.append("no protection")
    triggers = [
        text.format(p[name])
        for name, text in (
            ("rebalance_bars", "every bar" if p["rebalance_bars"] == 1 else "every {:g} bars"),
            ("rebalance_drift", "when a weight is {:.0%} off"),
            ("rebalance_volatility", "while volatility is above {:.0%}"),
            ("rebalance_correlation", "while mean correlation is above {:.2f}"),
            ("rebalance_drawdown", "while the drawdown is above {:.0%}"),
        )
        if p[name] is not None
    ]
    return "; ".join([*told, f"rebalance {' or '.join(triggers)}" if triggers else "never rebalance"])


def _switch(name: str, doc: str) -> Parameter:
    return Parameter(name, "on", choices=SWITCH, doc=doc)


def _bars(name: str, default: int, low: int, high: int, doc: str) -> Parameter:
    return Parameter(name, default, low, high, unit="bars", integer=True, doc=doc)


def _share(name: str, default: float, low: float, high: float, doc: str) -> Parameter:
    return Parameter(name, default, low, high, doc=doc)


def _trigger(name: str, default: float | None, low: float, high: float, doc: str) -> Parameter:
    return Parameter(name, default, low, high, optional=True, doc=doc)


PARAMETERS = (
    Parameter("base", "given", choices=planes.BASES, doc="base weights: the book's (else equal), or made here"),
    _bars("base_window", 60, 10, 500, "volatility that inverse-volatility weights are made of"),
    # sizing
    _switch("sizing", "Kelly, ranges and drawdown bound each position"),
    _share("kelly_fraction", 0.25, 0.01, 5.0, "share of the Kelly fraction"),
    _bars("kelly_window", 120, 20, 750, "bars that wins and losses are counted in"),
    _bars("kelly_least", 20, 1, 250, "of these at least so many must have won or lost, else the base weight"),
    _share("size_min", 0.0, 0.0, 0.5, "smallest position"),
    _share("size_max", 1.0, 0.01, 2.0, "largest position"),
    _share("position_cap", 0.05, 0.005, 1.0, "largest position while the book's drawdown is small"),
    _share("cap_from", 0.05, 0.0, 0.1, "drawdown from which it falls"),
    _share("cap_to", 0.15, 0.11, 0.8, "drawdown at which it is cap_deep of itself"),
    _share("cap_deep", 0.6, 0.0, 1.0, "share of position_cap at that drawdown"),
    _share("cap_floor", 0.3, 0.0, 1.0, "share of position_cap that always stays"),
    _share("wide_ranges", 1.2, 1.0, 1.4, "average true range over its mean from which ranges are wide"),
    _share("very_wide_ranges", 1.5, 1.4, 5.0, "and very wide"),
    _share("wide_size", 0.85, 0.0, 1.0, "size while ranges are wide"),
    _share("very_wide_size", 0.7, 0.0, 1.0, "size while they are very wide"),
    # regime
    _switch("regime", "the regime multiplies positions"),
    Parameter("regime_of", "market", choices=REGIMES_OF, doc="whose regime"),
    _bars("regime_window", 50, 10, 250, "volatility and trend"),
    _bars("regime_memory", 250, 50, 1000, "volatilities that it is held against"),
    _share("vol_high", 0.8, 0.55, 0.99, "quantile from which volatility is high"),
    _share("vol_low", 0.2, 0.01, 0.45, "quantile to which it is low"),
    _share("trend_strength", 8.0, 1.0, 50.0, "slope over standard error that is a trend"),
    _bars("confirm_bars", 3, 1, 20, "candidates in a row that make a label"),
    _bars("min_bars", 5, 0, 60, "least time between two changes"),
    *(
        _share(f"exposure_{name}", share, 0.0, 1.5, f"share of positions held when {name.replace('_', ' ')}")
        for name, share in zip(REGIMES, (1.0, 0.4, 0.5, 1.0, 0.8), strict=True)
    ),
    # trailing exit
    _switch("trailing_exit", "stops that follow the profit, and leave within the bar"),
    _share("initial_stop", 0.02, 0.005, 0.5, "first stop, from entry"),
    _share("break_even_from", 0.01, 0.001, 0.5, "profit from which the stop is at entry"),
    _share("lock_from", 0.02, 0.001, 1.0, "profit from which the stop keeps a share of it"),
    _share("lock_share", 0.5, 0.0, 1.0, "that share"),
    _share("trail_from", 0.04, 0.001, 2.0, "profit from which the stop trails the best price"),
    Parameter("trail_atr", 3.0, 0.5, 20.0, unit="ATR", doc="distance from the best price"),
    _bars("max_hold_bars", 30, 2, 2000, "time after which a position without profit is closed"),
    _share("min_profit", 0.03, -0.5, 1.0, "profit that it must have by then"),
    # agreement
    _switch("agreement", "frames must agree before a position is opened, and scale it"),
    _bars("frame_window", 10, 3, 60, "candles of each frame that vote"),
    _share("agreement_least", 0.45, 0.0, 1.0, "agreement below which nothing is opened"),
    _share("agreement_fair", 0.65, 0.0, 1.0, "fair agreement"),
    _share("agreement_strong", 0.8, 0.0, 1.0, "strong agreement"),
    _share("size_least", 0.7, 0.0, 2.0, "size below fair agreement"),
    _share("size_fair", 1.2, 0.0, 2.0, "size at fair agreement"),
    _share("size_strong", 1.5, 0.0, 2.0, "size at strong agreement"),
    # correlation hedge
    Parameter("hedge", "reduce", choices=METHODS, doc="what is done while positions move as one"),
    _bars("correlation_window", 60, 10, 500, "returns that correlate"),
    Parameter("correlation", "rolling", choices=planes.CORRELATIONS, doc="all alike, or newer ones more (0.94 a bar)"),
    Parameter("exposure_measure", "effective", choices=MEASURES, doc="sqrt(w' C w), or sum |w| x mean correlation"),
    _share("hedge_exposure", 0.15, 0.0, 2.0, "exposure above which the hedge is on"),
    _share("hedge_hysteresis", 0.1, 0.0, 0.9, "share of it by which exposure must fall before the hedge goes off"),
    Parameter("hedge_regimes", "any", choices=REGIME_SETS, doc="regimes of the market in which it may be on"),
    _share("hedge_strength", 0.3, 0.0, 1.0, "share of the exposure that is hedged"),
    _bars("beta_window", 60, 10, 500, "returns that give betas to the hedge asset"),
    Parameter("beta_adjusted", "yes", choices=YES_NO, doc="whether a short is sized by beta"),
    _bars("put_tenor", 30, 5, 260, "life of a put"),
    _share("put_moneyness", 0.95, 0.5, 1.2, "strike over price when a put is bought"),
    # rebalancing
    Parameter("rebalance_bars", 5, 1, 260, unit="bars", integer=True, optional=True, doc="every so many bars"),
    _trigger("rebalance_drift", 0.05, 0.0, 1.0, "when a weight is so far from its target"),
    _trigger("rebalance_volatility", None, 0.01, 3.0, "while the book's volatility per year is above"),
    _trigger("rebalance_correlation", None, -1.0, 1.0, "while the mean correlation is above"),
    _trigger("rebalance_drawdown", None, 0.01, 0.9, "while the book's drawdown is above"),
    _trigger("max_turnover", None, 0.01, 5.0, "most that is traded in a bar, of equity"),
    _share("min_trade", 0.001, 0.0, 0.2, "smallest change of a weight that is traded"),
)

STRATEGY = Strategy(
    name="portfolio_hedge",
    summary="A long book on one account, protected by sizing, regimes, trailing exits, agreement of frames and a hedge.",
    source="docs/portfolio_hedge.md; Kelly (1956), Bell System Technical Journal 35; J.P. Morgan/Reuters (1996), RiskMetrics",
    parameters=PARAMETERS,
    planes=(
        Plane("base_weight", planes.base_weight, keys=("base", "base_window")),
        Plane("kelly_long", planes.kelly_long, keys=("kelly_window", "kelly_least")),
        Plane("kelly_short", planes.kelly_short, keys=("kelly_window", "kelly_least")),
        Plane("range_ratio", lambda market: range_ratio(market, RANGE_WINDOW, ATR_WINDOW)),
        Plane("market_regime", planes.market_labels, keys=planes.REGIME_KEYS),
        Plane("asset_regime", planes.asset_labels, keys=planes.REGIME_KEYS),
        Plane("alignment", planes.agreement, keys=("frame_window",)),
        Plane("atr", lambda market: true_range_average(market, ATR_WINDOW)),
        Plane("factors", planes.factors, keys=("correlation_window", "correlation"), stacked=True),
        Plane("mean_rho", planes.mean_rho, keys=("correlation_window", "correlation")),
        Plane("volatility", planes.volatility, keys=("correlation_window",)),
        Plane("hedge_beta", planes.hedge_beta, keys=("beta_window",)),
        Plane("hedge_asset", planes.hedge_asset),
        Plane("put_price", planes.put_price, keys=("put_tenor", "put_moneyness")),
        Plane("put_gain", planes.put_gain, keys=("put_tenor", "put_moneyness")),
        Plane("put_rolls", planes.put_rolls, keys=("put_tenor", "put_moneyness")),
        Plane("years", planes.years),
    ),
    state=Rule,
    step=step,
    account=SHARED_ACCOUNT,
    warm_up=warm_up,
    unfit=unfit,
    say=in_desk_words,
    book=True,
    features=(
        Feature("sizing"),
        Feature("regime"),
        Feature("trailing_exit"),
        Feature("agreement", claims="sharpe"),
        Feature("hedge"),
    ),
    limited=True,
    notes=(
        "Interest is earned only on what the cash hedge moves out of the market, and the rest of the cash earns nothing.",
        "Puts are marked by Black-Scholes at the book's volatility index, or at 1.2 times realised volatility.",
        "Puts are bought and sold at the mark of the close that the rule has seen, also where shares fill a bar later.",
    ),
)
