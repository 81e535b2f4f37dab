"""The judgement of whole studies: against which baseline, by how many looks, and what it refuses to judge."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from studies import LEARNING, Watch, option_plans, run_one, small_plan

from cluster import job, running, selection
from cluster.config import load_study
from cluster.findings import Findings
from cluster.looking import looks_of
from cluster.plan import Plan, make_plan
from cluster.rival import best_of, in_order, rival
from cluster.selection import Selection
from kernels.errors import InputError
from search.lock import release
from search.looks import LOOKS

pytestmark = pytest.mark.usefixtures("undrawn")

CRYPTO_GRID = Path(__file__).resolve().parent.parent / "configs" / "studies" / "tsmom_crypto8_grid.yaml"
QUICK = ("tracking.enabled=false", "selection.replicates=19")


@pytest.fixture(scope="module", autouse=True)
def few_histories() -> Any:
    """Of the winner alone: how many decides nothing that is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "REPLICATES", 20)
        yield


def planned(folder: Path, *overrides: str) -> Plan:
    return small_plan(folder, *QUICK, *overrides)


def of(found: Findings) -> Selection:
    assert found.selection is not None
    return found.selection


# ---- the baseline to beat


SCORED = pd.DataFrame(
    {"score": [0.2, 0.9, 0.5, 0.9], "status": ["ok", "invalid", "ok", "ok"], "sharpe": [1.0, float("nan"), 3.0, 2.0]},
    index=["a", "broken", "b", "c"],
)


@pytest.mark.parametrize(
    ("named", "first", "order", "best"),
    [
        (None, "c", ["c", "broken", "b", "a"], (3.0, "the best baseline")),
        ("a", "a", ["a", "broken", "c", "b"], (1.0, "a")),
        ("broken", None, ["broken", "c", "b", "a"], (None, "broken")),
    ],
)
def test_it_is_the_one_that_is_named_or_the_best_that_could_be_computed(
    tmp_path: Path, named: str | None, first: str | None, order: list[str], best: tuple[float | None, str]
) -> None:
    plan = planned(tmp_path)
    chosen = plan.config.selection.model_copy(update={"baseline": named})
    object.__setattr__(plan, "config", plan.config.model_copy(update={"selection": chosen}))
    assert rival(plan, SCORED) == first
    assert list(in_order(plan, SCORED).index) == order
    assert best_of(plan, SCORED, "sharpe") == best


def test_it_is_held_against_everywhere(tmp_path: Path) -> None:
    best = run_one(planned(tmp_path, "name=default")).found
    scores = best.baselines["score"]
    worse = str(scores.idxmin())
    assert of(best).reality.baseline == scores.idxmax() != worse  # type: ignore[union-attr]
    found = run_one(planned(tmp_path, "name=named", f"selection.baseline={worse}")).found
    assert of(found).reality.baseline == worse  # type: ignore[union-attr]
    assert next(iter(of(found).against)) == worse
    told = " ".join(found.advice)
    assert f"that of {worse}, 95 %" in told
    assert f"over the Sharpe ratio of {worse} is" in told
    (other, *_), (same, *_) = of(best).against.items(), of(found).against.items()
    assert other[0] != same[0]
    pd.testing.assert_frame_equal(best.best, found.best, check_exact=True)  # the search is the same


def test_one_that_could_not_be_computed_is_no_cash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, "selection.baseline=full")
    scored = running.scored_baselines

    def ruined(plan: Plan, metrics: pd.DataFrame) -> pd.DataFrame:
        table = scored(plan, metrics)
        table.loc["full", "status"] = "invalid"
        return table

    monkeypatch.setattr(running, "scored_baselines", ruined)
    found = run_one(plan).found
    assert of(found).reality is None
    assert found.verdict.missing["reality check"] == "its baseline, full, could not be computed"
    assert not (plan.folder / "reality.json").exists()


def test_on_simulated_paths_it_is_the_named_one_too(tmp_path: Path) -> None:
    compare = "strategy.compare={unhedged: {hedge_ratio: 0.0}, half: {hedge_ratio: 0.5}}"
    (plan,) = option_plans(tmp_path, "market.tickers=[NEAR]", compare, "selection.baseline=unhedged")
    verdict = run_one(plan).found.verdict
    assert verdict.rules[-1].of == "unhedged"
    assert verdict.line.endswith("of unhedged")


# ---- what is refused, before any work

REFUSED = {
    "a baseline that was not evaluated": (
        "selection.baseline=ful",
        "selection.baseline: 'ful' is not evaluated in this study; strategy.compare has disabled, full; did you mean 'full'?",
    ),
    "an odd number of blocks": (
        "selection.blocks=7",
        "selection.blocks: an even number from 4 to 16 is needed, since each half is compared with the other, got 7; "
        "take 6 or 8, or 0 for none",
    ),
    "the largest odd number": ("selection.blocks=15", "got 15; take 14 or 16, or 0 for none"),
    "two blocks": ("selection.blocks=2", "got 2; take 4, or 0 for none"),
    "too many blocks": ("selection.blocks=26", "selection.blocks: Input should be less than or equal to 16, got 26"),
    "more blocks than months": (
        "selection.blocks=10",
        "selection.blocks: a block is at least a month, and the search sees 8 months, got 10 blocks; take at most 8, or a "
        "longer history",
    ),
    "a fold shorter than the warm-up": (
        "selection.folds=4",
        "selection.folds: 4 folds in the second half of 225 bars do not test more than the 21 bars that tsmom_hedge looks "
        "back; take at most 3, a longer history, or shorter windows",
    ),
    "a hold-out shorter than the warm-up": (
        "selection.holdout=0.05",
        "selection.holdout: 0.05 of 300 bars hides 15 and shows 285; tsmom_hedge looks back up to 21 bars with these "
        "parameters and both must be longer; give 0.072 to 0.924, or 0 for none",
    ),
    "all bars hidden": ("selection.holdout=1", "selection.holdout: Input should be less than 1, got 1"),
    "replicates that decide nothing": (
        "selection.replicates=9",
        "selection.replicates: 0 for none, or at least 19: 9 give no p-value below 0.1, and 0.05 or less is wanted",
    ),
    "fewer than none": (
        "selection.replicates=-1",
        "selection.replicates: Input should be greater than or equal to 0, got -1",
    ),
    "no window": ("selection.window=sliding", "selection.window: Input should be 'anchored' or 'rolling'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_in_a_sentence_and_nothing_is_left(tmp_path: Path, what: str) -> None:
    override, message = REFUSED[what]
    with pytest.raises(InputError) as error:
        planned(tmp_path, override)
    first, *others = error.value.problems
    assert not others or (first.endswith("is not a valid study:") and len(others) == 1)
    assert message in str(error.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("override", ["selection.holdout=0.072", "selection.folds=3", "selection.blocks=8"])
def test_what_a_refusal_suggests_works(tmp_path: Path, override: str) -> None:
    plan = planned(tmp_path, override)
    assert plan.periods is not None


def test_a_baseline_where_there_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"'full' is no baseline of this study, which has none; name it under strategy.compare"
    ):
        planned(tmp_path, "strategy.compare={}", "selection.baseline=full")


def test_another_baseline_is_not_chosen_when_the_results_are_known(tmp_path: Path) -> None:
    run_one(planned(tmp_path))
    with pytest.raises(InputError, match=r"selection\.baseline was None when this study began, is full now"):
        run_one(planned(tmp_path, "selection.baseline=full"), resume=True)


# ---- how often this data was looked at


def counted(folder: Path) -> dict[str, int]:
    return {each.name: each.configurations for each in looks_of(planned(folder)).studies}


def test_studies_of_the_same_data_add_up_and_the_same_one_counts_once(tmp_path: Path) -> None:
    first = run_one(planned(tmp_path, "name=first")).found
    assert of(first).luck.tried == 12
    run_one(planned(tmp_path, "name=first"), resume=True)
    shutil.rmtree(tmp_path / "runs" / "first")  # what was seen cannot be unseen
    release(tmp_path / "runs" / "first")
    run_one(planned(tmp_path, "name=first"))
    assert counted(tmp_path) == {"first": 12}
    other = "strategy.search.hedge_threshold=[-0.3, -0.4]"
    second = run_one(planned(tmp_path, "name=second", other)).found
    assert counted(tmp_path) == {"first": 12, "second": 8}
    assert of(second).luck.tried == 20
    assert of(second).luck.expected > 0.0
    assert "The best of 20 worthless configurations" in " ".join(second.advice)
    assert "the best of 20 configurations tried on this data" in second.verdict.rules[0].explained
    written = yaml.safe_load((tmp_path / "runs" / "second" / "best.yaml").read_text())
    assert [each["configurations"] for each in written["looks_at_this_data"]] == [12, 8]
    third = run_one(planned(tmp_path, "name=third", "market.seed=9")).found
    assert of(third).luck.tried == 12  # other data


def test_a_study_stopped_early_counts_what_it_evaluated_and_longer_ones_are_the_same_look(tmp_path: Path) -> None:
    learning = ("name=learning", *LEARNING, "search.batch=4")
    watch = Watch()
    with pytest.raises(KeyboardInterrupt):
        job.run([planned(tmp_path, *learning)], watch, stop=lambda: bool(watch.rows))
    assert counted(tmp_path) == {"learning": 4}
    run_one(planned(tmp_path, *learning), resume=True)
    assert counted(tmp_path) == {"learning": 12}
    run_one(planned(tmp_path, *learning, "search.trials=16"), resume=True)
    assert counted(tmp_path) == {"learning": 16}
    assert len((tmp_path / "runs" / LOOKS).read_text().splitlines()) == 3


def test_what_comes_up_again_is_no_further_try(tmp_path: Path) -> None:
    found = run_one(planned(tmp_path, "name=repeating", "search.sampler=tpe", "search.trials=30")).found
    assert found.distinct < 30
    assert counted(tmp_path) == {"repeating": found.distinct}
    assert of(found).luck.tried == found.distinct


# ---- what cannot be judged


def test_a_study_in_which_everyone_is_ruined_is_not_judged(tmp_path: Path) -> None:
    fixed = "strategy.fixed={lookback: 20, vol_window: 20, max_leverage: 5, vol_target: 1, short_mode: full}"
    plan = planned(tmp_path, "costs.fee_bps=9000", "costs.slippage_bps=9000", fixed)
    found = run_one(plan).found
    assert set(pd.read_parquet(plan.folder / "configs.parquet")["status"]) == {"invalid"}
    assert found.verdict.label == "not judged"


def without(**changed: Any) -> tuple[str, ...]:
    return tuple(f"selection.{key}={value}" for key, value in changed.items())


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (without(replicates=0, blocks=0, folds=0, holdout=0), "selection.{} is 0"),
        (("market.bars=50",), "the history is too short for {}"),
        (("strategy.search={}",), "fewer than two configurations are valid"),
    ],
    ids=["not asked for", "too short", "nothing to choose from"],
)
def test_what_is_not_asked_says_why(tmp_path: Path, overrides: tuple[str, ...], told: str) -> None:
    why = of(run_one(planned(tmp_path, *overrides)).found).why_not
    asked: Callable[[str], str] = told.format
    if "{}" not in told:
        assert why["PBO"] == told
    elif "too short" in told:
        assert (why["PBO"], why["walking forward"]) == (asked("4 blocks"), asked("a fold"))
    else:
        keys = {"PBO": "blocks", "walking forward": "folds", "reality check": "replicates"}
        assert {what: why[what] for what in keys} == {what: asked(key) for what, key in keys.items()}


# ---- the published sweep


def test_the_crypto_study_says_what_is_true_of_it(tmp_path: Path, shared_data: Path) -> None:
    data = shared_data / "crypto8_daily.parquet"
    if not data.is_file():
        pytest.skip(f"{data.name} is not in the data folder")
    plan = make_plan(load_study(CRYPTO_GRID, ["tracking.enabled=false", f"market.path={data}"]), tmp_path)
    found = run_one(plan).found
    told = (plan.folder / "advice.md").read_text()
    assert "hedge_threshold: hardly any effect between -0.05 and -0.07" in told
    assert re.search(r"that of disabled, 95 % between -\S+ and \+\S+: not significant", told)
    assert (
        "lead of all over the Sharpe ratio of disabled is not more than the best of so many would have by luck" in told
    )
    assert (
        "it would take 6.0 years to keep their best at a Sharpe ratio of 1 by luck, and these are 6.0: on the line"
        in told
    )
    assert found.verdict.label == "not supported"
    page = (plan.folder / "report.html").read_text()
    for said in (
        "hardly any effect between -0.05 and -0.07",
        "not significant",
        "on the line of pure luck",
        found.verdict.line.removeprefix("not supported: ").replace(">", "&gt;"),
    ):
        assert said in page
    assert json.loads((plan.folder / "reality.json").read_text())["baseline"] == "disabled"
