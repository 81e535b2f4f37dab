"""A strategy tried out before any work: its declarations, its rule on symbols, its planes and rule on a tiny market."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from kernels.account import Costs
from kernels.backends.numpy import NumpyBackend
from kernels.engine import Engine
from kernels.errors import InputError
from kernels.limit_planes import ASSET, RHO
from kernels.long_book import LongBook
from kernels.market import Market
from kernels.market_calendar import DateArray
from kernels.metric import OF_RETURNS
from kernels.option_market import PER_PATH, Contract, OptionMarket, gbm
from kernels.planes import PlaneStore, encode, market_planes, planes_of
from kernels.program import Program, trace
from kernels.risk_settings import Limits
from kernels.schedule import schedule
from kernels.state import Leaf, leaves
from kernels.strategy import Feature, Parameter, ParameterValue, Strategy

MOST_BARS = 2000  # of the tiny market: enough for any warm-up that a daily strategy has
FINEST_DAYS = 0.1  # its bars where options are traded: the finest that a rebalance may ask for


def check(strategy: Strategy, origin: str | None = None) -> None:
    """Refuse (InputError) a strategy that cannot work on every backend, or whose planes look ahead.

    `origin` is the file that messages name; line numbers are those of that file.
    """
    where = origin or f"strategy '{strategy.name}'"
    problems = _declaration_problems(strategy)
    if problems:
        raise InputError(f"{where}: {problem}" for problem in problems)
    try:
        market = tiny_market(strategy)
        _trace(strategy, market)
        Engine(market, strategy, Costs(), NumpyBackend()).run(pd.DataFrame(_corners(strategy), dtype=object))
        problems = _look_ahead_problems(strategy, market)
    except Exception as error:  # whatever a user's rule may raise
        raise InputError(blame(error, where)) from error
    if problems:
        raise InputError(f"{where}: {problem}" for problem in problems)


def blame(error: BaseException, origin: str) -> str:
    """The sentence for an error in a user's file: where in the file, and what."""
    if isinstance(error, SyntaxError) and error.filename == origin:
        return f"{origin}, line {error.lineno}: {type(error).__name__}: {error.msg}; correct the line"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == origin]
    place = f"{origin}, line {lines[-1]}" if lines else origin
    if isinstance(error, ModuleNotFoundError):
        return f"{place}: {error}; a strategy is one file that imports kernels, numpy and pandas"
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    ours = tb is not None and str(tb.tb_frame.f_globals.get("__name__")).startswith("kernels.")
    text = str(error) or "raised without a message"
    return f"{place}: {text if ours else f'{type(error).__name__}: {text}'}"


def _declaration_problems(strategy: Strategy) -> list[str]:
    names = [parameter.name for parameter in strategy.parameters]
    planes = [plane.name for plane in strategy.planes]
    problems = [] if names else ["parameters is empty; a strategy has at least one, else nothing can be searched"]
    for what, given in (("parameter", names), ("plane", planes)):
        problems += [f"{what} {n!r} is there twice; keep one" for n in sorted({n for n in given if given.count(n) > 1})]
        problems += [
            f"{what} {n!r}: a Python name is needed (letters, digits, _)" for n in given if not n.isidentifier()
        ]
    for parameter in strategy.parameters:
        problems += _parameter_problems(parameter)
    problems += _feature_problems(strategy)
    taken = {*planes_of(strategy), RHO, ASSET}
    problems += [f"plane {n!r}: every market has a plane of that name; choose another" for n in planes if n in taken]
    optional = {parameter.name for parameter in strategy.parameters if parameter.optional}
    for plane in strategy.planes:
        for key in plane.keys:
            if key not in names:
                problems.append(f"plane {plane.name!r}: key {key!r} is no parameter; parameters are {', '.join(names)}")
            elif key in optional:
                problems.append(
                    f"plane {plane.name!r}: key {key!r} is an optional parameter, and a plane needs a value; make it required"
                )
    try:
        carried = leaves(strategy.state())
    except Exception as error:
        return [*problems, f"state: a NamedTuple class with a default for every field is needed ({error})"]
    return problems + [
        f"state.{n}: its default must be per_asset(x) or scalar(x) from kernels.state, got {leaf!r}"
        for n, leaf in carried.items()
        if not isinstance(leaf, Leaf)
    ]


def _parameter_problems(parameter: Parameter) -> list[str]:
    where = f"parameter '{parameter.name}'"
    if not parameter.choices:
        if parameter.low is None or parameter.high is None:
            return [f"{where}: low and high are needed (or choices); a study may only ask for values between them"]
        if not parameter.low < parameter.high:
            return [f"{where}: low < high must hold, got low={parameter.low}, high={parameter.high}"]
    problem = parameter.problem(parameter.default)
    return [f"{problem} as its default"] if problem else []


def _feature_problems(strategy: Strategy) -> list[str]:
    known = {parameter.name: parameter for parameter in strategy.parameters}
    problems, seen = [], set[str]()
    for feature in strategy.features:
        if not isinstance(feature, Feature):
            problems.append(f"features: Feature({feature!r}) from kernels is needed, got {feature!r}")
            continue
        name, where = feature.parameter, f"feature {feature.parameter!r}"
        if name not in known:
            problems.append(f"{where}: it is no parameter; parameters are {', '.join(known)}")
        elif len(known[name].choices) < 2:
            problems.append(f"{where}: a parameter with choices is needed, of which the first switches it off")
        if name in seen:
            problems.append(f"{where} is there twice; keep one")
        if feature.claims not in OF_RETURNS:
            problems.append(
                f"{where}: claims {feature.claims!r} is no metric of the returns; claim one of {', '.join(OF_RETURNS)}"
            )
        seen.add(name)
    return problems


def _trace(strategy: Strategy, market: Market | OptionMarket) -> None:
    """The rule on symbols: optional parameters in use and left out, banks shared and gathered."""
    optional = frozenset(parameter.name for parameter in strategy.parameters if parameter.optional)
    banks = tuple(name for plane in strategy.planes if plane.keys for name in plane.names(2))
    asked = (None, Limits()) if strategy.limited else (None,)
    for limits in asked:
        planes = PlaneStore(market, strategy, Costs(), limits).per_asset
        for off in {frozenset[str](), optional}:
            for gathered in {(), banks}:
                schedule(trace(Program(strategy, 2, off, limits=limits), planes, gathered))


def _corners(strategy: Strategy) -> list[dict[str, ParameterValue]]:
    """Every parameter at its default, then all at their lows, then all at their highs."""
    return [
        {p.name: p.default for p in strategy.parameters},
        {p.name: p.choices[0] if p.choices else p.low for p in strategy.parameters},
        {p.name: p.choices[-1] if p.choices else p.high for p in strategy.parameters},
    ]


def _look_ahead_problems(strategy: Strategy, market: Market | OptionMarket) -> list[str]:
    """A plane that looks ahead changes in the past when the future is cut off."""
    rows = pd.DataFrame(_corners(strategy)[:1], dtype=object)
    cut = 2 * market.n_bars // 3
    whole, known = (_planes(strategy, history, rows) for history in (market, _first_bars(market, cut)))
    problems = []
    for name in known:
        # Sums may be regrouped when there are fewer bars; what has seen the future is further away than that.
        differs = ~np.isclose(whole[name][:, :cut], known[name], rtol=1e-9, atol=1e-12)
        if differs.any():
            problems.append(
                f"plane {name!r} looks ahead: its value at bar {int(np.argwhere(differs)[0][1])} changes when the bars from "
                f"{cut} on are cut off; the value at bar t may use bars up to t only"
            )
    return problems


def _first_bars(market: Market | OptionMarket, count: int) -> Market | OptionMarket:
    if isinstance(market, Market):
        return market.until(count)
    columns: dict[str, Any] = {name: getattr(market, name)[:count] for name in ("days", "opens", "live")}
    columns |= {name: getattr(market, name)[:, :count] for name in PER_PATH}
    return replace(market, timestamps=market.timestamps[:count], **columns)


def _planes(strategy: Strategy, market: Market | OptionMarket, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    store = PlaneStore(market, strategy, Costs())
    parameters = encode(strategy, rows)
    common = market_planes(market, Costs())
    own = {name: array for name, array in store.shared.items() if name not in common}
    return own | {name: bank for name, (bank, _) in store.read_by(parameters).items()}


def tiny_market(strategy: Strategy) -> Market | OptionMarket:
    """Two assets on a seeded random walk, long enough for the warm-up of every row that is tried."""
    longest = max(int(strategy.warm_up(corner)) for corner in _corners(strategy))
    T = min(MOST_BARS, 120 + longest)
    if strategy.market is OptionMarket:
        sold = Contract(tenor_days=4.0)
        return gbm(("A", "B"), scenarios=2, bars=T, step_days=FINEST_DAYS, contract=sold, seed=0)
    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(0.03 * rng.standard_normal((T, 2)), axis=0))
    open_ = np.concatenate([close[:1], close[:-1]])
    stamps = np.datetime64("2020-01-01", "us") + np.arange(T) * np.timedelta64(1, "D")
    return Market(
        tickers=("A", "B"),
        timestamps=stamps,
        close=close,
        open=open_,
        high=1.01 * np.maximum(open_, close),
        low=0.99 * np.minimum(open_, close),
        volume=rng.lognormal(8.0, 1.0, (T, 2)),
        book=_tiny_book(stamps) if strategy.book else None,
    )


def _tiny_book(stamps: DateArray) -> LongBook:
    """A book with everything that a strategy may read of one."""
    rng = np.random.default_rng(1)
    steps = rng.standard_normal((2, len(stamps), 1))
    implied, other = (np.exp(np.cumsum(0.03 * each, axis=0)) for each in steps)
    return LongBook((0.6, 0.3), "B", implied=0.2 * implied[:, 0], beside=Market(("C",), stamps, other))
