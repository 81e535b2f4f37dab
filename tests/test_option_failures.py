"""Failures of earlier systems, each excluded by name.

Those that are identities of the book stand with the others: the scale that cancels, the share that is delivered
(tests/test_option_hedge.py), rebalance times and metrics of the mean path (tests/test_option_rules.py).
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from histories import market_for
from option_files import implied_history
from option_runs import CHARGED, FREE, S0, STRATEGY, market, returns, sums
from plain_option_book import price
from rules import CATALOGUE
from running import some_values

from cluster.config import load_study
from cluster.option_sources import load_options
from cluster.plan import make_plan
from cluster.winner import unseen_market
from kernels import STRATEGIES, Costs, InputError, Strategy
from kernels.backends import choose
from kernels.engine import Engine
from kernels.heston_market import STREAMS, generator
from kernels.option_market import Contract, OptionMarket, black_scholes_pricer, write_cycles
from search.targets import DEFAULTS, Targets

HESTON = {"v0": 0.05, "kappa": 3, "theta": 0.05, "xi": 0.5, "rho": -0.5}
SOURCES: dict[str, dict[str, Any]] = {
    "gbm": {"source": "gbm"},
    "heston": {"source": "heston", "parameters": HESTON},
    "bootstrap": {"source": "bootstrap", "path": "history.parquet", "implied": {"column": "iv"}},
}
each_source = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with history.parquet."""
    monkeypatch.chdir(tmp_path)
    implied_history().to_parquet("history.parquet")
    return tmp_path


def study(folder: Path, source: str, **market: Any) -> Path:
    """A study on simulated paths, searched in days of 0.5 and more."""
    days = [0.5, 1.0, 5.0] if source != "bootstrap" else [1.0, 5.0]
    content = {
        "name": "unseen",
        "market": {"tickers": ["ABC"], "scenarios": 20, "bars": 80, "seed": 5, **SOURCES[source], **market},
        "strategy": {"name": "option_hedge", "search": {"rebalance_days": days, "exposure": [0.5, 1.0]}},
        "compute": {"backend": "numpy"},
        "tracking": {"enabled": False},
    }
    path = folder / "unseen.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


# ---- a scorer that reads a metric nobody writes


@pytest.mark.parametrize("strategy", CATALOGUE, ids=lambda s: s.name)
def test_every_metric_that_a_target_may_name_is_written_and_differs_between_configurations(strategy: Strategy) -> None:
    history, rng = market_for(strategy), np.random.default_rng(2)
    rows = pd.DataFrame({p.name: some_values(p, rng, 120) for p in strategy.parameters}, dtype=object)
    dear = Costs(5.0, 5.0, option_spread=0.01, impact="linear", impact_coefficient=1e-9, cash_rate=0.02)
    found = Engine(history, strategy, dear, choose("numpy").backend).run(rows).metrics  # type: ignore[arg-type]
    assert set(found) == {*strategy.metrics, "status"}
    valid = found[found["status"] == "ok"]
    assert len(valid) >= 20
    # The cycles of options are the market's; limits are a study's.
    same = {"option_hedge": {"trades"}, "portfolio_hedge": {"limit_cuts", "limit_refusals"}}.get(strategy.name, set())
    for name in sorted(set(strategy.metrics) - same):
        assert valid[name].max() > valid[name].min(), name


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=lambda s: s.name)
def test_a_score_follows_whichever_metric_it_is_told_to(strategy: Strategy) -> None:
    """For every metric alone: a better one scores higher, so none is a constant that the scorer made up."""
    others = dict.fromkeys(target.metric for target in DEFAULTS)
    for name, metric in strategy.metrics.items():
        more = metric.good >= 0
        wanted = {"at_least": 0.2, "reservation": 0.1} if more else {"at_most": 0.1, "reservation": 0.2}
        targets = Targets.of({**others, name: wanted}, metrics=strategy.metrics)
        rows = pd.DataFrame(0.0, index=range(3), columns=list(strategy.metrics))
        scores = targets.score(rows.assign(**{name: [0.05, 0.15, 0.25]}, status="ok"))["score"].to_numpy()
        assert (np.diff(scores if more else scores[::-1]) > 0.0).all(), name


def test_a_target_on_a_metric_that_the_strategy_does_not_write_is_refused(folder: Path) -> None:
    asked = load_study(study(folder, "gbm"), ["targets={hedging_eror: {at_most: 0.01, reservation: 0.02}}"])
    with pytest.raises(InputError, match="target on unknown metric 'hedging_eror'; did you mean hedging_error"):
        make_plan(asked, folder / "runs")
    other = load_study(study(folder, "gbm"), ["targets={hedging_error: {at_most: 0.01, reservation: 0.02}}"])
    assert make_plan(other, folder / "runs").targets.metrics == ("hedging_error",)


# ---- the mark, the capital, the first bar, the cost


def test_the_options_mark_is_in_every_bars_return() -> None:
    """The price stands still and the volatility moves: all that is earned is the option's mark, bar by bar."""
    stamps = np.datetime64("2024-01-01", "us") + np.arange(31) * np.timedelta64(1, "D")
    spot = np.full((1, 31, 1), S0)
    implied = 0.2 + 0.05 * np.random.default_rng(1).standard_normal((1, 31, 1)).clip(-2.0, 2.0)
    history = write_cycles(
        ("X",), stamps, spot, Contract(tenor_days=30.0), black_scholes_pricer(implied, 0.0, 0.0),
        rate=0.0, dividend_yield=0.0, bars_per_year=365.0,
    )  # fmt: skip
    owed = [price("call", S0, S0, (30 - t) / 365, implied[0, t, 0], 0.0, 0.0)[0] for t in range(31)]
    got = returns(history, {"hedge_ratio": 0.0})
    np.testing.assert_allclose(got, -np.diff(owed) / S0, rtol=0.0, atol=1e-14)  # a few roundings of numbers near 1
    assert (np.abs(got) > 1e-5).all()


@pytest.mark.parametrize("change", [{"hedge_ratio": 0.3}, {"band": 0.3}, {"gamma_hedge_ratio": 1.0}, {"exposure": 2.0}])
def test_the_capital_is_the_share_price_whatever_is_held_traded_or_paid(change: dict[str, Any]) -> None:
    """The option's own gains over capital are the same whatever the hedge and the costs are, and twice at twice the size."""
    history = market(10, 91)
    plain = sums(history, [{}])["parts.option"]
    gains = -np.diff(history.next_mark[:, :, 0], axis=1)
    for t in (30, 60):  # on the bar of a roll the old option's last mark counts, not the new one's first
        gains[:, t - 1] = history.next_mark[:, t - 1, 0] - history.mark[:, t, 0]
    gains[:, -1] = history.next_mark[:, -2, 0] - history.mark[:, -1, 0]
    np.testing.assert_allclose(
        plain[:, 0], (gains / history.spot[:, [0] * 30 + [30] * 30 + [60] * 30, 0]).sum(axis=1), atol=90 * 2.0**-50
    )
    for costs in (FREE, Costs(20.0, 20.0, option_spread=0.05)):
        changed = sums(history, [change], costs)["parts.option"]
        np.testing.assert_array_equal(changed, change.get("exposure", 1.0) * plain)


def test_the_cost_is_in_the_environment_and_cannot_be_searched() -> None:
    assert not {p.name for p in STRATEGY.parameters} & {f.name for f in fields(Costs)}


def test_what_the_first_bar_costs_is_in_the_return_and_in_the_cost() -> None:
    """The book begins on a bar that has no return; what it trades there must not be lost."""
    history = market(20, 31)
    free, charged = sums(history, [{"hedge_ratio": 1.0}]), sums(history, [{"hedge_ratio": 1.0}], CHARGED)
    # at rate 0.03 what was paid early would have earned interest: 0.03 * 30 / 365 = 0.25 % of the cost at most
    np.testing.assert_allclose(free["r1"] - charged["r1"], charged["cost"], rtol=0.0025)
    np.testing.assert_allclose(charged["cost"], CHARGED.fractions["fee"] * charged["turnover"], rtol=1e-12)
    assert (charged["turnover"] > history.delta[:, 0]).all()


# ---- train and test with different steps, best of many without a hold-out


def differing(one: OptionMarket, other: OptionMarket) -> set[str]:
    """The fields in which two markets differ."""
    return {
        field.name
        for field in fields(OptionMarket)
        if not np.array_equal(getattr(one, field.name), getattr(other, field.name))
    }


@each_source
def test_train_validation_and_hold_out_differ_in_their_paths_and_in_nothing_else(source: str, folder: Path) -> None:
    drawn = {"spot", "volatility", "capital", "mark", "next_mark", "delivered", "strike", "delta", "gamma", "vega"}
    drawn |= {"second_mark", "second_next_mark", "second_delta", "second_gamma"}
    markets = []
    for stream in STREAMS:
        config = load_study(study(folder, source, stream=stream))
        (found,) = load_options(config.market, config.smallest_rebalance_days).values()  # type: ignore[arg-type]
        markets.append(found)
    train = markets[0]
    assert train.step_days == (1.0 if source == "bootstrap" else 0.5)
    for other in markets[1:]:
        assert differing(train, other) <= drawn  # timestamps, steps, contract, rates and times to expiry are one
        assert (train.spot[:, -1] != other.spot[:, -1]).all()


@each_source
def test_the_winner_is_examined_on_unseen_paths_of_the_same_bars(source: str, folder: Path) -> None:
    plan = make_plan(load_study(study(folder, source)), folder / "runs")
    engine = unseen_market(plan, plan.space.grid().iloc[:1])
    assert engine is not None
    np.testing.assert_array_equal(engine.market.timestamps, plan.market.timestamps)
    assert isinstance(engine.market, OptionMarket)
    assert isinstance(plan.market, OptionMarket)
    assert engine.market.contract == plan.market.contract
    assert (engine.market.spot[:, -1] != plan.market.spot[:, -1]).all()
    assert engine.costs == plan.costs


def test_streams_seeds_and_tickers_share_no_draw() -> None:
    keys = [(seed, stream, name) for seed in (0, 1) for stream in STREAMS for name in ("ABC", "ABD")]
    draws = [generator(*key).integers(0, 2**64, 20_000, dtype=np.uint64) for key in keys]
    # two of 240 000 numbers of 64 bits are equal by chance with a probability of 240 000^2 / 2 / 2^64 < 2e-9
    assert len(np.unique(np.concatenate(draws))) == 20_000 * len(keys)


@each_source
def test_a_path_says_nothing_about_the_path_of_another_stream(source: str, folder: Path) -> None:
    """Log returns of path i, train against hold-out: no correlation beyond chance."""
    moves = []
    for stream in ("train", "holdout"):
        config = load_study(study(folder, source, stream=stream), ["market.scenarios=200"])
        (found,) = load_options(config.market, 1.0).values()  # type: ignore[arg-type]
        moves.append(np.diff(np.log(found.spot[:, :, 0]), axis=1).ravel())
    # 200 paths of 79 bars: a standard error of 1 / sqrt(15 800); heavy tails do not move that of independent series
    assert abs(np.corrcoef(*moves)[0, 1]) < 4.0 / np.sqrt(len(moves[0]))


# ---- a seed from a salted hash

SEEDED = """
import sys
from pathlib import Path
from cluster.config import load_study
from cluster.plan import make_plan
from search.study import Study

for path in sorted(Path(".").glob("*.yaml")):
    plan = make_plan(load_study(path), Path(sys.argv[1]))
    print(path, plan.market.digest)
study = Study.open(plan.folder, "x", plan.space, plan.targets, sampler="tpe", trials=24, batch=8, seed=3)
engine = plan.task.engine()
while batch := study.ask():
    measured = engine.metrics(batch.every).loc[batch.repeats.new]
    print(study.tell(batch, measured)[["rebalance_days", "exposure", "score"]].to_csv())
"""


def test_two_processes_with_different_hash_seeds_have_the_same_markets_and_the_same_trials(folder: Path) -> None:
    for source in SOURCES:
        study(folder, source).rename(folder / f"{source}.yaml")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SEEDED, salt],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": salt, "HOME": str(folder)},
            stdout=subprocess.PIPE, text=True, cwd=folder,
        )
        for salt in ("1", "2")
    ]  # fmt: skip
    told = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert told[0] == told[1]
    assert told[0].count("yaml") == 3
    assert told[0].count(",score") == 3  # batches of trials
