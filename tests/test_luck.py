"""What says whether a winner is luck: against published examples, closed forms, other libraries and simulation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from studies import run_one, small_plan

from cluster import output
from cluster.selection_advice import lucky
from kernels.errors import InputError
from search.bootstrap import block_length, resample, weights
from search.luck import luck
from search.overfitting import overfitting
from search.reality_check import Excess, excess, merged
from search.sharpe import (
    best_of,
    deflated_sharpe,
    effective_trials,
    minimum_years,
    probabilistic_sharpe,
    sharpe_difference,
    worthless_spread,
)


def sums(returns: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bars, sums and sums of squares of even blocks of (n, N) returns."""
    parts = returns.reshape(blocks, -1, returns.shape[1])
    return np.full(blocks, parts.shape[1]), parts.sum(axis=1), (parts**2).sum(axis=1)


# ---- Sharpe ratios


def test_the_best_of_n_is_what_simulation_finds() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 1000)).max(axis=1)
    # 0.35 is the spread of a maximum of 1000: 4000 of them have a mean good to 0.02 (3.5 standard errors)
    assert best_of(1000) == pytest.approx(draws.mean(), abs=0.02)


def test_years_needed_are_those_of_the_paper() -> None:
    assert [round(minimum_years(n), 1) for n in (80, 300, 1e5, 1e6)] == [6.0, 8.4, 19.3, 23.7]
    assert minimum_years(1) == 0.0


@given(n=st.floats(1.0, 1e9), more=st.floats(1.0, 10.0))
def test_more_trials_never_lower_the_bar(n: float, more: float) -> None:
    assert best_of(n * more) >= best_of(n) - 1e-9


@given(sharpe=st.floats(-0.3, 0.3), skew=st.floats(-2, 2), kurtosis=st.floats(5, 30), bars=st.integers(30, 5000))
def test_one_trial_deflates_nothing(sharpe: float, skew: float, kurtosis: float, bars: int) -> None:
    dsr, luck = deflated_sharpe(sharpe, bars, skew, kurtosis, trials=1, spread=0.1)
    assert luck == 0.0
    assert dsr == float(probabilistic_sharpe(sharpe, bars, skew, kurtosis))


def test_deflated_sharpe_is_that_of_ffn() -> None:
    core = pytest.importorskip("ffn.core")
    rng = np.random.default_rng(2)
    returns = pd.DataFrame(
        rng.standard_t(5, (1500, 40)) * 0.01 + np.linspace(0, 0.001, 40),
        index=pd.date_range("2020", periods=1500, freq="D"),
    )
    ratios = returns.mean() / returns.std()
    winner = returns[ratios.idxmax()]
    theirs = core.calc_deflated_sharpe_ratio(winner, ratios, nperiods=365, annualized_trials=False)
    centred = winner - winner.mean()
    skew, kurtosis = (float((centred**k).mean() / (centred**2).mean() ** (k / 2)) for k in (3, 4))
    ours, _ = deflated_sharpe(
        float(ratios.max()), len(winner), skew, kurtosis, trials=40, spread=float(ratios.std(ddof=1))
    )
    assert ours == pytest.approx(theirs, abs=1e-3)  # they take the unbiased forms of skew and kurtosis


def test_correlated_trials_count_for_less() -> None:
    assert effective_trials(1000, 0.0) == 1000
    assert effective_trials(1000, 1.0) == 1.0
    assert effective_trials(1000, -0.2) == 1000


def test_a_study_says_what_luck_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "draw", lambda *_: ())
    plan = small_plan(tmp_path, "tracking.enabled=false")
    found = run_one(plan).found
    table = pd.read_parquet(plan.folder / "configs.parquet")
    best = table.loc[table["score"].idxmax()]
    per_bar = math.sqrt(plan.market.bars_per_year)
    expected = (
        worthless_spread(table["sharpe"].to_numpy() / per_bar, plan.market.n_bars - 1) * per_bar * best_of(len(table))
    )
    dsr = probabilistic_sharpe(
        best["sharpe"] / per_bar, plan.market.n_bars - 1, best["skew"], best["kurtosis"], expected / per_bar
    )
    assert found.selection is not None
    chance = found.selection.luck
    assert chance.tried == len(table) == plan.trials
    assert (chance.expected, chance.deflated) == pytest.approx((expected, float(dsr)))
    (told,) = (sentence for sentence in found.advice if "worthless configurations" in sentence)
    assert f"The best of {plan.trials} worthless configurations" in told
    assert ("is more than luck" in told) == (chance.deflated >= 0.95)
    assert yaml.safe_load((plan.folder / "best.yaml").read_text())["luck"]["deflated"] == chance.deflated


# ---- the difference from a baseline


@pytest.mark.parametrize(
    ("apart", "named"), [(0.1, "worthless configurations that differ as these do"), (2.0, "independent")]
)
def test_what_is_taken_for_luck_is_named(apart: float, named: str) -> None:
    tried = np.random.default_rng(0).normal(0.0, apart, 80)
    noise = {"skew": 0.0, "kurtosis": 3.0, "bars": 2191, "bars_per_year": 365.0}
    told = lucky(luck(tried, tried=80, effective=80.0, sharpe=1.93, **noise), 1.93)
    assert f"The best of 80 {named}" in told
    assert (
        "6.0 years to keep their best at a Sharpe ratio of 1 by luck, and these are 6.0: on the line of pure luck"
        in told
    )


def test_no_difference_is_found_as_often_as_it_should_be() -> None:
    rng = np.random.default_rng(5)
    p = []
    for _ in range(400):
        common = rng.standard_t(6, 600)
        x, y = (0.05 + common + rng.standard_t(6, 600) for _ in range(2))
        p.append(sharpe_difference(x, y).p_value)
    # of 400 tests at the 10 % level 40 reject, give or take 3.3 * 6
    assert 20 <= np.count_nonzero(np.array(p) < 0.1) <= 60


def test_the_error_of_independent_normal_returns_is_jobson_and_korkies() -> None:
    x, y = np.random.default_rng(1).normal(0.1, 1.0, (2, 200_000))
    # Memmel (2003) of two independent series: sqrt((2 + (s1^2 + s2^2) / 2) / n)
    assert sharpe_difference(x, y).error == pytest.approx(math.sqrt((2.0 + 0.01) / 200_000), rel=0.02)


@given(scale=st.floats(0.1, 10.0))
def test_leverage_is_no_difference(scale: float) -> None:
    x, y = np.random.default_rng(3).normal(0.02, 1.0, (2, 500))
    one, other = sharpe_difference(x, y), sharpe_difference(scale * x, y)
    assert (one.difference, one.error) == pytest.approx((other.difference, other.error))


def test_what_never_moves_has_no_difference() -> None:
    assert math.isnan(sharpe_difference(np.zeros(100), np.random.default_rng(0).normal(size=100)).p_value)


# ---- overfitting


def test_overfitting_is_that_of_ffn() -> None:
    core = pytest.importorskip("ffn.core")
    returns = np.random.default_rng(0).normal(0.0, 1.0, (1200, 30)) + np.linspace(0, 0.02, 30)
    theirs = core.calc_prob_backtest_overfitting(pd.DataFrame(returns), n_blocks=12, full_output=True)
    ours = overfitting(*sums(returns, 12))
    assert ours.probability == theirs["pbo"]
    assert np.sort(ours.logits) == pytest.approx(np.sort(theirs["logits"]))


def test_skill_is_told_from_luck() -> None:
    rng = np.random.default_rng(4)
    noise = rng.normal(0.0, 1.0, (1200, 100))
    assert overfitting(*sums(noise, 12)).probability > 0.3
    noise[:, 7] += 0.25
    found = overfitting(*sums(noise, 12))
    assert found.probability < 0.01
    assert (found.chosen == 7).mean() > 0.99


def test_noise_is_as_often_above_the_median_as_below() -> None:
    rng = np.random.default_rng(8)
    found = [overfitting(*sums(rng.normal(size=(240, 60)), 8)).probability for _ in range(100)]
    # one search's PBO has a spread of about 0.25 over histories; the mean of 100 is good to 0.075 (3 standard errors)
    assert np.mean(found) == pytest.approx(0.5, abs=0.075)


@given(order=st.permutations(range(20)), scale=st.floats(0.1, 10.0))
def test_neither_order_nor_leverage_matters(order: list[int], scale: float) -> None:
    returns = np.random.default_rng(6).normal(0.0, 1.0, (120, 20))
    one, other = overfitting(*sums(returns, 6)), overfitting(*sums(scale * returns[:, order], 6))
    assert one.probability == other.probability


def test_configurations_alike_are_in_the_middle() -> None:
    same = np.repeat(np.random.default_rng(0).normal(size=(60, 1)), 9, axis=1)
    assert overfitting(*sums(same, 6)).logits == pytest.approx(np.zeros(20))


@pytest.mark.parametrize(
    ("blocks", "configurations", "message"), [(5, 4, "an even number of blocks"), (6, 1, "at least 2 configurations")]
)
def test_too_little_to_choose_from_is_refused(blocks: int, configurations: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        overfitting(*sums(np.ones((60, configurations)), blocks))


# ---- histories that might have been


@pytest.mark.parametrize("phi", [0.3, 0.8, -0.5])
def test_block_lengths_are_those_of_arch(phi: float) -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    noise = np.random.default_rng(1).normal(size=3000)
    series = np.zeros(3000)
    for t in range(1, 3000):
        series[t] = phi * series[t - 1] + noise[t]
    assert block_length(series) == pytest.approx(bootstrap.optimal_block_length(series)["stationary"].iloc[0], rel=1e-9)


def test_every_bar_is_drawn_as_often_as_any_other() -> None:
    drawn = resample(50, 7.0, 4000, seed=1)
    # 4000 draws a bar on average, in blocks of 7: a spread of about sqrt(7 * 4000) = 167; five of them
    assert np.bincount(drawn.ravel(), minlength=50) == pytest.approx(np.full(50, 4000), abs=835)
    assert weights(drawn).sum(axis=1) == pytest.approx(np.ones(4000))


def test_blocks_have_the_length_asked_for() -> None:
    drawn = resample(500, 12.0, 400, seed=2)
    broken = np.diff(drawn, axis=1) % 500 != 1
    # a block ends with probability 1/12 after each bar (and goes on by chance 1 in 500): 200,000 draws, 4 standard errors
    assert broken.mean() == pytest.approx(1 / 12, abs=0.003)


# ---- the reality check


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return weights(resample(400, 5.0, 400, seed=1))


def test_p_values_are_those_of_arch() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    rng = np.random.default_rng(0)
    returns, baseline = rng.normal(0.0, 1.0, (800, 30)), rng.normal(0.0, 1.0, 800)
    returns[:, 3] += 0.12
    returns[:, 5:9] -= 1.0  # hopeless: only White lets them count
    many = weights(resample(800, 5.0, 2000, seed=1))
    ours = excess(returns, baseline, many)
    difference = returns - baseline[:, None]
    scaled = -difference / (many @ difference).std(axis=0) / math.sqrt(800)  # arch does not studentise its maximum
    theirs = bootstrap.SPA(np.zeros(800), scaled, block_size=5, reps=2000, studentize=False, seed=3)
    theirs.compute()
    # two estimates from 2000 replicates each: 4 standard errors of sqrt(2 p (1 - p) / 2000) at p = 0.2
    assert ours.p_value == pytest.approx(theirs.pvalues["consistent"], abs=0.05)
    assert ours.upper_p_value == pytest.approx(theirs.pvalues["upper"], abs=0.05)


@given(cuts=st.lists(st.integers(1, 39), min_size=1, max_size=4, unique=True), seed=st.integers(0, 50))
def test_parts_merge_to_the_whole_in_any_order(drawn: np.ndarray, cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    returns, baseline = rng.normal(0.0, 1.0, (400, 40)), rng.normal(0.0, 1.0, 400)
    parts = [excess(part, baseline, drawn) for part in np.split(returns, sorted(cuts), axis=1)]
    rng.shuffle(parts)  # type: ignore[arg-type]
    total, whole = merged(parts), excess(returns, baseline, drawn)
    assert isinstance(total, Excess)
    assert (total.found, total.p_value, total.configurations) == (whole.found, whole.p_value, 40)


def test_noise_is_seldom_taken_for_skill(drawn: np.ndarray) -> None:
    rng = np.random.default_rng(9)
    p = [excess(rng.normal(size=(400, 25)), rng.normal(size=400), drawn).p_value for _ in range(200)]
    # at the 10 % level 20 of 200, give or take 3 * 4.2
    assert np.count_nonzero(np.array(p) <= 0.1) <= 33


def test_an_edge_is_found(drawn: np.ndarray) -> None:
    returns = np.random.default_rng(3).normal(size=(400, 25))
    returns[:, 11] += 0.35
    assert excess(returns, np.zeros(400), drawn).p_value < 0.01


def test_the_baseline_itself_says_nothing(drawn: np.ndarray) -> None:
    returns = np.random.default_rng(3).normal(size=(400, 3))
    alone = excess(returns[:, [0, 0]], returns[:, 0], drawn)
    assert alone.found == -math.inf
    assert merged([alone, excess(returns, returns[:, 0], drawn)]).found == excess(returns, returns[:, 0], drawn).found
