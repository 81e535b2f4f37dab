"""The risk limits inside a bar: one order a bar is answered as `RiskLimits` answers it, several keep every limit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from histories import part
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.risk_soak import closes, hourly, symbols
from kernels import Market
from kernels.comovement import Comovement
from kernels.limit_planes import known_correlations, limit_planes
from kernels.limit_stage import IN_SEVERAL, SMALLEST, Correlations, Limited, Opened, limit
from kernels.market import FloatArray
from kernels.risk_limits import RiskLimits
from kernels.risk_settings import EXPOSURES, ON_UNKNOWN, Limits

A, BARS = 5, 130
SIDES = {1.0: "long", -1.0: "short"}
ROUNDING = 1e-14  # a weight below 2 is the outcome of some ten sums and products: 10 * 2 * 2**-53 < 1e-14
TIGHT = Limits(symbol_limit=0.2, direction_limit=0.35, regime_limit=0.4, correlation_lookback=40)
WINDOWS = {"correlation_lookback": 40, "correlation_common": 12}
LIMITS = st.builds(
    Limits,
    symbol_limit=st.sampled_from([0.1, 0.25, 1.0]),
    direction_limit=st.sampled_from([0.2, 0.6, 1.0]),
    regime_limit=st.sampled_from([0.15, 0.5, 1.0]),
    exposure=st.sampled_from(EXPOSURES),
    pyramiding=st.booleans(),
    correlation_limit=st.sampled_from([0.0, 0.5, 0.85]),
    correlation_cut=st.sampled_from([0.0, 0.75, 1.0]),
    on_unknown=st.sampled_from(ON_UNKNOWN),
    **{name: st.just(window) for name, window in WINDOWS.items()},
)


def prices(seed: int) -> Market:
    """Assets in groups of two that move together or against each other; the last does not move at first."""
    close = closes(BARS, A, seed, group=2, tightness=0.93)
    close[: BARS // 2, -1] = close[0, -1]
    return Market(tuple(symbols(A)), hourly(BARS), close)


def correlations(limits: Limits, market: Market, bar: int) -> Correlations | None:
    """What the planes of the stage say at a bar."""
    planes = {plane.name: plane.compute(market) for plane in limit_planes(limits, market.n_assets)}
    if not planes:
        return None
    return Correlations(planes["limit_asset"][bar][:, None], [rho[bar][:, None] for rho in planes["limit_rho"]])


class Pair:
    """One book kept twice: as `RiskLimits` and as weights with their labels."""

    def __init__(self, limits: Limits, market: Market, seed: int, regimes: bool) -> None:
        self.limits, self.market, self.regimes = limits, market, regimes
        self.random = np.random.default_rng(seed)
        self.asked = RiskLimits(limits, equity=1.0)
        self.amount = np.zeros(A)  # signed, in account currency
        self.opened = Opened(np.full((A, 1), IN_SEVERAL))
        self.answers = Counter[str]()
        self.planes = {plane.name: plane.compute(market) for plane in limit_planes(limits, A)}

    def bar(self, t: int) -> None:
        """Prices and equity change, some positions are reduced, closed or turned, and one order is asked for."""
        names, random, asked = self.market.tickers, self.random, self.asked
        asked.update_prices(self.market.timestamps[t], dict(zip(names, self.market.close[t], strict=True)))
        if t:
            self.amount *= self.market.close[t] / self.market.close[t - 1]
        equity = 1000.0 * random.uniform(0.8, 1.25)
        asked.update_equity(equity)
        for i in np.flatnonzero(self.amount):
            asked.mark(names[i], None, abs(self.amount[i]))
        held = self.amount / equity
        weight = held * np.where(random.random(A) < 0.2, random.choice([0.0, 0.5], A), 1.0)
        a, side = int(random.integers(A)), float(random.choice([-1.0, 1.0]))
        size = random.lognormal(np.log(0.08), 1.0)
        base = held[a] if side * held[a] > 0.0 else 0.0
        weight[a] = base + side * size
        label = float(random.integers(3))
        if base and self.limits.pyramiding:
            label = float(self.opened.regime[a, 0])  # a position of several regimes is another claim
        self.reduced(held, weight)
        decision = asked.check(names[a], SIDES[side], size * equity, str(label) if self.regimes else None)
        now = None
        if self.planes:
            rho = [plane[t][:, None] for plane in self.planes["limit_rho"]]
            now = Correlations(self.planes["limit_asset"][t][:, None], rho)
        regime = label if self.regimes else None
        found, self.opened = limit(self.limits, weight[:, None], held[:, None], regime, self.opened, now)
        expected = weight.copy()
        expected[a] = base + side * size * decision.multiplier
        np.testing.assert_allclose(found.weight[:, 0], expected, rtol=0.0, atol=ROUNDING, err_msg=str(decision))
        assert found.refusals[0] == (not decision.allowed)
        assert found.cuts[0] == (decision.allowed and decision.multiplier < 1.0)
        self.amount = found.weight[:, 0] * equity
        if decision:
            asked.open(
                names[a], SIDES[side], abs(self.amount[a]) - abs(base) * equity, str(label) if self.regimes else None
            )
        for reason in decision.reasons:
            self.answers[reason.split("_")[0]] += 1

    def reduced(self, held: FloatArray, weight: FloatArray) -> None:
        """Tell the live book what is sold before anything is bought."""
        for a in np.flatnonzero(held):
            left = abs(weight[a]) if weight[a] * held[a] > 0.0 else 0.0
            if left == 0.0:
                self.asked.close(self.market.tickers[a])
            elif left < abs(held[a]):
                share = 1.0 - left / abs(held[a])
                self.asked.close(self.market.tickers[a], None, share * abs(self.amount[a]))


@settings(max_examples=25)
@given(limits=LIMITS, seed=st.integers(0, 2**32 - 1), regimes=st.booleans())
def test_one_order_a_bar_is_answered_as_a_live_program_is(limits: Limits, seed: int, regimes: bool) -> None:
    pair = Pair(limits, prices(seed % 7), seed, regimes)
    for t in range(BARS):
        pair.bar(t)


def test_these_streams_meet_every_limit() -> None:
    answers = Counter[str]()
    for pyramiding in (False, True):
        pair = Pair(replace(TIGHT, **WINDOWS, pyramiding=pyramiding), prices(1), 3, regimes=True)
        for t in range(BARS):
            pair.bar(t)
        answers += pair.answers
    assert {"symbol", "direction", "regime", "correlation", "position"} <= set(answers), answers


@pytest.mark.parametrize(("lookback", "least"), [(40, 12), (12, 12), (500, 30)])
def test_the_correlations_of_a_bar_are_those_a_live_program_knows(lookback: int, least: int) -> None:
    market = prices(2)
    market.close[:, 1] = market.close[:, 0] * 3.0  # exactly together
    live, ours = Comovement(lookback, least), known_correlations(market.close, lookback, least)
    stamps, rows = market.timestamps.astype(np.int64), np.arange(A)
    for t in range(BARS):
        live.update(stamps[t : t + 1], {n: market.close[t : t + 1, a] for a, n in enumerate(market.tickers)})
        told = np.stack([live.correlations(live.row(name), rows) for name in market.tickers])
        np.testing.assert_array_equal(np.isnan(told), np.isnan(ours[t]), err_msg=str(t))
        np.testing.assert_allclose(ours[t], told, rtol=0.0, atol=1e-13)  # sums of 129 products: 129 * 2**-53 < 1e-13
        np.testing.assert_array_equal(np.abs(ours[t]) == 1.0, np.abs(told) == 1.0)
    assert (ours[-1, 0, 1], np.isnan(ours[least + 1, 0, -1])) == (1.0, True)


# ---- several orders of one bar

SEEDS = st.integers(0, 2**32 - 1)


def book(seed: int, lanes: int = 20) -> tuple[FloatArray, FloatArray, FloatArray, Opened]:
    """What is wanted, held and the labels of it, (A, C), and a label of now (C,)."""
    random = np.random.default_rng(seed)
    held, weight = (random.normal(0.0, 0.15, (2, A, lanes)) * (random.random((2, A, lanes)) < 0.7)).tolist()
    same = random.random((A, lanes)) < 0.2
    labels = random.choice([IN_SEVERAL, 0.0, 1.0, 2.0], (A, lanes))
    return np.where(same, held, weight), np.asarray(held), random.integers(0, 3, lanes).astype(float), Opened(labels)


def bases(weight: FloatArray, held: FloatArray) -> FloatArray:
    return np.where(weight * held > 0.0, np.minimum(abs(weight), abs(held)), 0.0)


@settings(max_examples=60)
@given(limits=LIMITS, seed=SEEDS)
def test_no_limit_is_exceeded_and_no_size_raised_by_all_orders_of_a_bar(limits: Limits, seed: int) -> None:
    weight, held, regime, opened = book(seed)
    found, after = limit(limits, weight, held, regime, opened, correlations(limits, prices(0), BARS - 1))
    base, left = bases(weight, held), abs(found.weight)
    added = left - base
    assert (found.weight * weight >= 0.0).all()
    assert (left <= abs(weight)).all()
    assert (added >= -ROUNDING).all()
    grown = added > ROUNDING
    assert (np.where(grown, left, 0.0) <= limits.symbol_limit + ROUNDING).all()
    for side in (1.0, -1.0):
        here = np.sign(weight) == side
        together, more = np.where(here, left, 0.0).sum(0), np.where(here & grown, 1, 0).sum(0)
        assert (np.where(more > 0, together, 0.0) <= limits.direction_limit + ROUNDING).all()
    of_now = (after.regime == regime) | (after.regime == IN_SEVERAL)
    was = (opened.regime == regime) | (opened.regime == IN_SEVERAL)
    exposure = np.where(was, base, 0.0).sum(0) + np.where(grown, added, 0.0).sum(0)
    assert (np.where(grown.any(0), exposure, 0.0) <= limits.regime_limit + ROUNDING).all()
    assert (of_now | ~grown).all()
    ordered = abs(weight) - base > SMALLEST
    cut = ordered & grown & (left < abs(weight))
    np.testing.assert_array_equal(found.cuts, cut.sum(0))
    np.testing.assert_array_equal(found.refusals, (ordered & ~grown).sum(0))
    if not limits.pyramiding:
        assert not (grown & (base > 0.0)).any()


@settings(max_examples=40)
@given(limits=LIMITS, seed=SEEDS)
def test_the_order_of_the_assets_does_not_matter(limits: Limits, seed: int) -> None:
    weight, held, regime, opened = book(seed)
    order = np.random.default_rng(seed).permutation(A)
    market = prices(0)
    turned = part(market, assets=order.tolist())
    assert isinstance(turned, Market)
    ours, after = limit(limits, weight, held, regime, opened, correlations(limits, market, BARS - 1))
    theirs, later = limit(
        limits,
        weight[order],
        held[order],
        regime,
        Opened(opened.regime[order]),
        correlations(limits, turned, BARS - 1),
    )
    np.testing.assert_allclose(theirs.weight, ours.weight[order], rtol=0.0, atol=ROUNDING)  # sums in another order
    np.testing.assert_array_equal(later.regime, after.regime[order])
    for one, other in ((ours.cuts, theirs.cuts), (ours.refusals, theirs.refusals)):
        np.testing.assert_array_equal(one, other)


def asked(limits: Limits, weight: list[float], held: list[float], regime: float | None = None) -> Limited:
    columns = np.array([weight, held])[..., None]
    opened = Opened(np.full((len(weight), 1), 7.0))
    return limit(limits, *columns, regime, opened, None)[0]


def test_a_shared_limit_cuts_orders_in_proportion() -> None:
    limits = Limits(symbol_limit=1.0, direction_limit=0.6, correlation_cut=0.0)
    found = asked(limits, [0.4, 0.1, 0.3, -0.2], [0.4, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(found.weight[:, 0], [0.4, 0.05, 0.15, -0.2])
    assert (found.cuts[0], found.refusals[0]) == (2.0, 0.0)


def test_what_is_sold_makes_room_for_what_is_bought() -> None:
    limits = Limits(symbol_limit=1.0, direction_limit=0.75, correlation_cut=0.0)
    for weight in ([0.25, 0.5, 0.0], [-0.75, 0.75, 0.0]):
        found = asked(limits, weight, [0.75, 0.0, 0.0])
        np.testing.assert_array_equal(found.weight[:, 0], weight)


def test_a_held_asset_is_added_to_only_where_pyramids_are_allowed() -> None:
    refused = asked(Limits(correlation_cut=0.0), [0.2, 0.1], [0.1, 0.0])
    np.testing.assert_array_equal(refused.weight[:, 0], [0.1, 0.1])
    assert (refused.cuts[0], refused.refusals[0]) == (0.0, 1.0)
    allowed = asked(Limits(correlation_cut=0.0, pyramiding=True), [0.2, 0.1], [0.1, 0.0])
    np.testing.assert_array_equal(allowed.weight[:, 0], [0.2, 0.1])


def test_two_orders_that_lose_together_cut_each_other() -> None:
    limits = Limits(symbol_limit=1.0, regime_limit=1.0)
    both = np.array([[0.1], [0.1], [0.1]])
    rho = np.array([[0.0, 0.92, -0.99], [0.92, 0.0, -0.99], [-0.99, -0.99, 0.0]])[..., None]
    near = Correlations(np.arange(3.0)[:, None], list(rho))
    found, _ = limit(limits, both, np.zeros((3, 1)), None, Opened(both), near)
    np.testing.assert_allclose(found.weight[:, 0], [0.1 * 0.08 / 0.15, 0.1 * 0.08 / 0.15, 0.1])


def test_a_position_of_several_regimes_counts_whole_in_each() -> None:
    """What a live program keeps in lots has one label here: never less than the lots, so that the limit holds."""
    limits = Limits(symbol_limit=1.0, direction_limit=1.0, regime_limit=0.4, correlation_cut=0.0, pyramiding=True)
    opened = Opened(np.full((2, 1), IN_SEVERAL))
    weight = np.zeros((2, 1))
    for wanted, label, expected in (
        ([0.3, 0.0], 0.0, [0.3, 0.0]),
        ([0.35, 0.0], 1.0, [0.35, 0.0]),  # 0.05 in regime 1
        ([0.35, 0.3], 1.0, [0.35, 0.05]),  # in lots 0.35 would be free
        ([0.35, 0.3], 2.0, [0.35, 0.10]),  # the other 0.05 is of regime 1 alone
        ([0.35, 0.3], 0.0, [0.35, 0.10]),  # 0.3 in lots, 0.45 as it is counted: refused
    ):
        found, opened = limit(limits, np.array([wanted]).T, weight, label, opened, None)
        weight = found.weight
        np.testing.assert_allclose(weight[:, 0], expected, atol=ROUNDING)


@settings(max_examples=10)
@given(seed=SEEDS)
def test_what_was_opened_in_a_regime_stays_within_its_limit_lot_by_lot(seed: int) -> None:
    limits = Limits(symbol_limit=1.0, direction_limit=1.0, regime_limit=0.4, correlation_cut=0.0, pyramiding=True)
    random, lanes = np.random.default_rng(seed), 20
    lots, held, opened = np.zeros((3, A, lanes)), np.zeros((A, lanes)), Opened(np.full((A, lanes), IN_SEVERAL))
    for _ in range(40):
        weight = np.where(random.random((A, lanes)) < 0.4, random.normal(0.0, 0.15, (A, lanes)), held)
        regime = random.integers(0, 3, lanes)
        found, opened = limit(limits, weight, held, regime.astype(float), opened, None)
        base = bases(weight, held)
        lots *= np.divide(base, abs(held), out=np.zeros_like(base), where=held != 0.0)
        lots[regime, :, range(lanes)] += (abs(found.weight) - base).T
        held = found.weight
        assert (lots.sum(axis=1) <= limits.regime_limit + 1e-13).all()  # 40 bars of roundings of 2**-53 each
    assert lots.sum() > 0.0


def test_what_is_no_number_is_not_within_a_limit() -> None:
    with np.errstate(invalid="ignore"):  # as the NumPy backend runs a bar
        found = asked(Limits(correlation_cut=0.0), [np.nan, np.inf, 0.1], [0.1, 0.0, 0.0])
    np.testing.assert_array_equal(found.weight[:, 0], [0.0, 0.0, 0.0])  # an infinite order asks for all the room
