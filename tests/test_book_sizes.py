"""What a protected book's rules make of one bar: agreement, Kelly, ranges, drawdown, regime, and when and how it is hedged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protected_books import PROTECTED

from kernels.book_hedge import MEASURES, METHODS, REGIME_SETS, Hedged, hedge_book
from kernels.book_sizes import UNKNOWN, agreement_size, by_label, drawdown_cap, kelly_size
from kernels.regime import REGIMES

share = st.floats(0.0, 1.0)


def parameters(**changes: Any) -> SimpleNamespace:
    """The defaults with these changes, choices as their positions."""
    values = {p.name: p.default for p in PROTECTED.parameters} | changes
    coded = {p.name: float(p.choices.index(values[p.name])) for p in PROTECTED.parameters if p.choices}
    return SimpleNamespace(**(values | coded))


P = parameters()


def sized(alignment: float, side: float = 1.0, before: float = 0.0, held: float = 0.0) -> float:
    return float(agreement_size(*(np.array([x]) for x in (alignment, side, before, held)), P)[0])


# ---- agreement


@pytest.mark.parametrize(
    ("alignment", "size"),
    [(0.449, 0.0), (0.45, 0.7), (0.649, 0.7), (0.65, 1.2), (0.799, 1.2), (0.80, 1.5), (1.0, 1.5), (-1.0, 0.0)],
)
def test_bands_of_agreement_scale_a_position_and_below_the_first_none_is_opened(alignment: float, size: float) -> None:
    assert sized(alignment) == size
    assert sized(-alignment, side=-1.0) == size


def test_a_held_position_keeps_its_size_where_agreement_is_gone() -> None:
    assert sized(0.1, before=1.2, held=0.03) == 1.2
    assert sized(0.1, before=1.2, held=0.0) == 0.0  # closed meanwhile: what comes is a new position
    assert sized(0.1, before=1.2, held=-0.03) == 0.0  # what is held is on the other side


@given(st.floats(-1.0, 1.0), st.sampled_from([-1.0, 1.0]), st.floats(0.0, 2.0), st.floats(-0.1, 0.1))
def test_agreement_treats_the_mirrored_market_as_the_mirror(
    alignment: float, side: float, before: float, held: float
) -> None:
    assert sized(alignment, side, before, held) == sized(-alignment, -side, before, -held)


# ---- sizing


def kellied(
    base: float = 0.125, kelly: float = 0.12, ratio: float = 1.0, drawdown: float = 0.0, agreed: float = 1.0, **p: Any
) -> float:
    values = (np.array([x]) for x in (base, agreed, kelly, ratio, drawdown))
    return float(kelly_size(*values, parameters(**p))[0])


def test_a_quarter_of_kelly_is_the_size() -> None:
    assert kellied(kelly=0.12) == 0.25 * 0.12
    assert kellied(kelly=0.12, kelly_fraction=0.1) == 0.1 * 0.12
    assert kellied(kelly=-0.3) == 0.0  # nothing is to be won
    assert kellied(base=-0.125, kelly=0.12) == 0.25 * 0.12  # the side comes later
    assert kellied(base=0.0) == 0.0


def test_an_unknown_kelly_fraction_leaves_the_base_weight() -> None:
    assert kellied(base=0.02, kelly=UNKNOWN) == 0.02
    assert kellied(base=-0.02, kelly=UNKNOWN) == 0.02


@pytest.mark.parametrize(
    ("ratio", "factor"), [(0.5, 1.0), (1.2, 1.0), (1.21, 0.85), (1.5, 0.85), (1.51, 0.7), (9.0, 0.7)]
)
def test_wide_ranges_make_positions_smaller(ratio: float, factor: float) -> None:
    assert kellied(kelly=0.12, ratio=ratio) == 0.25 * 0.12 * factor


@pytest.mark.parametrize(
    ("drawdown", "cap"),
    [(0.0, 0.05), (0.05, 0.05), (0.10, 0.04), (0.15, 0.03), (0.1875, 0.0225), (0.225, 0.015), (0.5, 0.015)],
)
def test_the_cap_falls_with_the_books_drawdown(drawdown: float, cap: float) -> None:
    assert drawdown_cap(np.array([drawdown]), P)[0] == pytest.approx(cap, rel=1e-12)
    assert kellied(kelly=1.0, drawdown=drawdown) == pytest.approx(cap, rel=1e-12)


def test_agreement_scales_a_size_before_its_cap() -> None:
    assert kellied(kelly=0.12, agreed=1.5) == 0.25 * 0.12 * 1.5
    assert kellied(kelly=0.16, agreed=1.5) == 0.05  # 6 % would be above the largest position
    assert kellied(kelly=0.16, agreed=0.0, size_min=0.01) == 0.0


@given(share, share)
def test_no_deeper_drawdown_allows_a_larger_position(one: float, other: float) -> None:
    low, high = sorted((one, other))
    at_low, at_high = drawdown_cap(np.array([low, high]), P)
    assert at_high <= at_low
    assert at_low - at_high <= 0.2 * (high - low) + 1e-15  # and it never jumps: 2 % of equity over 10 % of drawdown


@given(st.floats(-0.5, 0.5), st.floats(-1.0, 1.0), st.floats(0.0, 5.0), share, st.floats(0.0, 2.0), share, share)
def test_a_size_is_within_its_bounds_or_none(
    base: float, kelly: float, ratio: float, drawdown: float, agreed: float, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    size = kellied(base, kelly, ratio, drawdown, agreed, size_min=low, size_max=high)
    assert size == 0.0 if base * agreed == 0.0 else low <= size <= high


@pytest.mark.parametrize(("number", "label"), list(enumerate(REGIMES)))
def test_each_regime_has_an_exposure_of_its_own(number: int, label: str) -> None:
    exposures = [getattr(P, f"exposure_{name}") for name in REGIMES]
    assert by_label(np.array([float(number)]), exposures)[0] == P.__dict__[f"exposure_{label}"]


# ---- the hedge

LONGS = np.full((8, 1), 0.015)
RHO = 0.92
FACTORS = [row[:, None] for row in np.linalg.cholesky(np.full((8, 8), RHO) + (1.0 - RHO) * np.eye(8)).T]


def hedged(
    weight: Any = LONGS, was: float = 0.0, label: str = "ranging", beta: float = 1.0, factors: Any = FACTORS, **p: Any
) -> Hedged:
    asset = np.zeros_like(weight)
    asset[0] = 1.0
    bar = SimpleNamespace(factors=factors, hedge_beta=np.full_like(weight, beta), hedge_asset=asset)
    number = float(REGIMES.index(label))
    values = {"hedge": "reduce", "hedge_exposure": 0.1} | p
    return hedge_book(weight, np.array([was]), np.array([number]), bar, parameters(**values))


def test_both_measures_of_exposure() -> None:
    """sqrt(8 * 0.015^2 + 56 * 0.015^2 * 0.92) and 8 * 0.015 * 0.92."""
    by_measure = [float(hedged(exposure_measure=measure).exposure[0]) for measure in MEASURES]
    assert by_measure == pytest.approx([0.015 * np.sqrt(8 + 56 * RHO), 0.12 * RHO], rel=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_one_position_is_a_portfolio_too(measure: str, side: float) -> None:
    alone = np.where(np.arange(8) == 3, side * 0.2, 0.0)[:, None]
    assert hedged(alone, exposure_measure=measure).exposure[0] == pytest.approx(0.2, rel=1e-12)


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_hedge_goes_on_above_its_trigger_and_off_below_a_lower_one(method: str) -> None:
    e = 0.12 * RHO
    told = [
        hedged(was=was, hedge=method, exposure_measure="mean", hedge_exposure=trigger, hedge_hysteresis=0.1).armed[0]
        for was in (0.0, 1.0)
        for trigger in (1.01 * e / 0.9, 1.05 * e, 0.99 * e)
    ]
    assert told == [0.0, 0.0, 1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("regimes", "labels"),
    [
        ("any", REGIMES),
        ("not_bull", REGIMES[1:]),
        ("bear_trending", ("bear_trending",)),
        ("high_volatility", ("high_volatility",)),
        ("bear_or_high_volatility", ("bear_trending", "high_volatility")),
    ],
)
def test_a_hedge_is_on_in_its_regimes_only_and_goes_off_with_them(regimes: str, labels: tuple[str, ...]) -> None:
    assert regimes in REGIME_SETS
    for was in (0.0, 1.0):
        on = [label for label in REGIMES if hedged(was=was, label=label, hedge_regimes=regimes).armed[0]]
        assert tuple(on) == tuple(labels)


def test_off_and_a_strength_of_zero_hedge_nothing() -> None:
    for off in (hedged(hedge="off"), *(hedged(hedge=method, hedge_strength=0.0) for method in METHODS[1:])):
        assert np.array_equal(off.weight, LONGS)
        assert off.armed[0] == off.moved[0] == off.covered[0] == 0.0


def test_reduce_cuts_every_position_and_cash_moves_what_was_cut() -> None:
    cut, cash = (hedged(hedge=method, hedge_strength=0.3) for method in ("reduce", "cash"))
    assert np.array_equal(cut.weight, 0.7 * LONGS)
    assert np.array_equal(cash.weight, cut.weight)
    assert cut.moved[0] == 0.0
    assert cash.moved[0] == pytest.approx(0.3 * 0.12)


def test_inverse_shorts_the_share_of_the_books_beta() -> None:
    """strength * e * beta with beta that of the book per unit of e is strength * sum w beta, whatever e."""
    for measure in MEASURES:
        short = hedged(hedge="inverse", hedge_strength=0.3, beta=1.5, exposure_measure=measure).weight - LONGS
        assert short[0, 0] == pytest.approx(-0.3 * 0.12 * 1.5)
        assert not short[1:].any()


def test_inverse_unadjusted_shorts_the_share_of_the_exposure_against_the_books_side() -> None:
    row = {"hedge": "inverse", "hedge_strength": 0.3, "beta_adjusted": "no", "exposure_measure": "mean", "beta": 1.5}
    for side in (1.0, -1.0):
        book = side * LONGS
        assert (hedged(book, **row).weight - book)[0, 0] == pytest.approx(-side * 0.3 * 0.12 * RHO)


def test_puts_cover_the_share_of_a_books_beta_and_none_of_a_short_one() -> None:
    row = {"hedge": "put", "hedge_strength": 0.3, "beta": 1.5}
    assert hedged(**row).covered[0] == pytest.approx(0.3 * 0.12 * 1.5)
    short = hedged(-LONGS, **row)
    assert short.covered[0] == 0.0
    assert np.array_equal(short.weight, -LONGS)
