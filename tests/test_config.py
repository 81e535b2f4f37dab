"""A study file is refused whole, every mistake with its path; what is accepted survives being written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.config import StudyConfig, json_schema, load_study, resolved_yaml, study_digest
from kernels.errors import InputError
from search.targets import DEFAULTS

STUDIES = sorted((Path(__file__).parents[1] / "configs" / "studies").glob("*.yaml"))

SOUND = """\
name: sound
question: Does it hold?
market: {source: parquet, path: prices.parquet, tickers: [BTC, ON], start: 2020-01-01}
strategy:
  name: tsmom_hedge
  fixed: {lookback: 30, stop_loss: none}
  search:
    hedge_threshold: [-0.05, -0.07]
    hedge_strength: {low: 0.1, high: 1.0, step: 0.1}
  compare:
    disabled: {short_mode: disabled}
costs: {fee_bps: 4, slippage_bps: 1e-3}
search: {sampler: random, trials: 10}
targets:
  sharpe: {at_least: 1.0, reservation: 0.0, weight: 0.4}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "sound.yaml"
    path.write_text(SOUND)
    return path


def refusal(path: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_study(path, overrides)
    return str(caught.value).splitlines()


# ---- what is accepted


def test_the_sound_study_reads_as_written(study: Path) -> None:
    config = load_study(study)
    assert config.market.source == "parquet"
    assert config.market.tickers == ["BTC", "ON"]  # ON is a company, not a truth value
    assert config.market.start == "2020-01-01"
    assert config.costs.slippage_bps == 0.001  # 1e-3 is a number
    assert config.strategy.search["hedge_strength"] == {"low": 0.1, "high": 1.0, "step": 0.1}
    assert (config.search.seed, config.tracking.uri) == (0, "sqlite:///mlflow.db")


def test_targets_left_out_are_the_defaults_of_the_score(study: Path) -> None:
    study.write_text(SOUND.split("targets:")[0])
    assert set(load_study(study).targets) == {target.metric for target in DEFAULTS}


def test_a_study_cannot_be_changed(study: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_study(study).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_that_ships_is_valid_and_named_as_its_file(path: Path, tmp_path: Path) -> None:
    config = load_study(path)
    assert config.name == path.stem
    assert config.question
    assert reread(config, tmp_path) == config


def reread(config: StudyConfig, folder: Path) -> StudyConfig:
    copy = folder / "copy.yaml"
    copy.write_text(resolved_yaml(config), encoding="utf-8")
    return load_study(copy)


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
odd_words = words | st.sampled_from(
    ["1e-3", "no", "on", "null", "~", "2020-01-01", "12:30", "0x1F", "007", ".inf", "<<"]
)
numbers = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False)
values = st.none() | numbers | odd_words
ranges = st.fixed_dictionaries({"low": numbers, "high": numbers}, optional={"step": numbers, "log": st.booleans()})
studies = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[a-z0-9]", fullmatch=True),
        "question": odd_words,
        "market": st.fixed_dictionaries({"source": st.just("csv"), "path": odd_words}),
        "strategy": st.fixed_dictionaries(
            {"name": odd_words},
            optional={
                "fixed": st.dictionaries(odd_words, values, max_size=3),
                "search": st.dictionaries(odd_words, ranges | st.lists(values, max_size=3), max_size=3),
                "compare": st.dictionaries(odd_words, st.dictionaries(odd_words, values, max_size=2), max_size=2),
            },
        ),
        "costs": st.fixed_dictionaries({"fee_bps": st.floats(0, 9999)}),
    },
    optional={
        "targets": st.dictionaries(odd_words, st.none() | st.fixed_dictionaries({"at_least": numbers}), min_size=1)
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(content=studies)
def test_a_study_written_with_its_defaults_reads_back_equal(content: dict[str, Any], tmp_path: Path) -> None:
    config = StudyConfig.model_validate(content)
    again = reread(config, tmp_path)
    assert again == config
    assert study_digest(again) == study_digest(config)


def test_the_digest_names_what_decides_the_results_and_nothing_else(study: Path) -> None:
    digest = study_digest(load_study(study))
    same = ["compute.workers=2", "compute.pool=ray", "compute.backend=numpy", "tracking.enabled=false", "name=b"]
    assert {study_digest(load_study(study, [override])) for override in same} == {digest}
    assert study_digest(load_study(study, ["strategy.fixed.lookback=30.0"])) == digest
    other = ["search.seed=1", "costs.fee_bps=5", "market.path=b", "compute.precision=mixed", "targets.cagr=null"]
    digests = {study_digest(load_study(study, [override])) for override in other}
    assert len(digests | {digest}) == len(other) + 1


def test_the_schema_describes_the_file(study: Path) -> None:
    schema = json_schema()
    assert set(yaml.safe_load(SOUND)) <= set(schema["properties"])
    assert schema["additionalProperties"] is False


# ---- what is refused: one line of the study changed, and the line that answers it

MISTAKES = {
    "unknown key, near": ("trials: 10", "trails: 10", "search.trails: unknown key; did you mean trials?"),
    "unknown key, far": ("trials: 10", "zzz: 10", "search.zzz: unknown key; keys are sampler, trials, batch, seed"),
    "unknown section": ("question:", "quest:", "quest: unknown key; did you mean question?"),
    "key of another source": ("path:", "seed: 1, path:", "market.seed: unknown key; keys are source, path"),
    "unknown source": ("parquet,", "excel,", "market.source: choose one of bootstrap, csv, gbm, heston"),
    "no source": ("source: parquet, ", "", "market.source: choose one of bootstrap, csv, gbm, heston"),
    "no path": ("path: prices.parquet, ", "", "market.path: is needed"),
    "no date": ("start: 2020-01-01", "start: soon", "market.start: a date such as"),
    "folder in the name": ("name: sound", "name: ../sound", "name: 1 to 100 letters, digits"),
    "word for a number": ("at_least: 1.0", "at_least: high", "targets.sharpe.at_least: Input should be a valid number, got"),
    "number in quotes": ("fee_bps: 4", "fee_bps: '4'", "costs.fee_bps: Input should be a valid number, got '4'"),
    "truth for a number": ("fee_bps: 4", "fee_bps: true", "costs.fee_bps: Input should be a valid number, got True"),
    "not a number": ("fee_bps: 4", "fee_bps: .nan", "costs.fee_bps: Input should be a finite number, got nan"),
    "negative fee": ("fee_bps: 4", "fee_bps: -4", "costs.fee_bps: Input should be greater than or equal to 0, got -4"),
    "searched cost": ("fee_bps: 4", "fee_bps: [4, 5]", "costs.fee_bps: one value is needed, got [4, 5]; a cost is the env"),
    "half a trial": ("trials: 10", "trials: 10.5", "search.trials: Input should be a valid integer, got 10.5"),
    "no trials": ("trials: 10", "trials: 0", "search.trials: Input should be greater than or equal to 1, got 0"),
    "endless sampler": (", trials: 10", "", "search: trials is needed with sampler random"),
    "radius too wide": ("trials: 10", "trials: 10, cloud_radius: 2", "search.cloud_radius: at most 0.5 of each range must"),
    "a start too wide": ("trials: 10", "trials: 10, cloud_radius: {start: 0.6, end: 0.1}", "search.cloud_radius.start: at"),
    "no radius": ("trials: 10", "trials: 10, cloud_radius: 0", "search.cloud_radius: a share of each range, above 0, or"),
    "radius in words": ("trials: 10", "trials: 10, cloud_radius: wide", "search.cloud_radius: a share of each range, above 0"),
    "endless radius": ("trials: 10", "trials: 10, cloud_radius: .inf", "search.cloud_radius: at most 0.5 of each range must"),
    "half a radius": ("trials: 10", "trials: 10, cloud_radius: {start: 0.1}", "search.cloud_radius.end: is needed"),
    "no such statistic": ("trials: 10", "trials: 10, cloud_statistic: mode", "search.cloud_statistic: median, mean, best or"),
    "unknown sampler": ("sampler: random", "sampler: magic", "search.sampler: 'magic' is unknown; samplers are grid, random"),
    "unused objectives": (
        "sampler: random",
        "sampler: random, objectives: [sharpe, cagr]",
        "search: objectives sharpe, cagr are named, but objective is score; set objective: pareto",
    ),
    "target key": ("reservation: 0.0", "reserve: 0.0", "targets.sharpe.reserve: unknown key; did you mean reservation?"),
    "range key": ("high: 1.0", "hi: 1.0", "strategy.search.hedge_strength.hi: unknown key; did you mean high?"),
    "range bound": ("high: 1.0", "high: x", "strategy.search.hedge_strength.high: Input should be a valid number, got 'x'"),
    "one value searched": ("[-0.05, -0.07]", "-0.05", "strategy.search.hedge_threshold: a list of choices or {low"),
    "list in a list": ("-0.07]", "[1]]", "strategy.search.hedge_threshold[1]: a number, a word or null is needed, got [1]"),
    "list as a value": ("lookback: 30", "lookback: [30]", "strategy.fixed.lookback: a number, a word or null is needed"),
    "infinite value": ("lookback: 30", "lookback: .inf", "strategy.fixed.lookback: a finite number is needed, got inf"),
    "flat baseline": ("{short_mode: disabled}", "full", "strategy.compare.disabled: a mapping of keys is needed, got 'full'"),
    "empty section": ("costs: {fee_bps: 4, slippage_bps: 1e-3}", "costs:", "costs: a mapping of keys is needed, got None"),
    "key twice": ("name: sound", "name: sound\nname: sound", "name: stands twice, in line 1 and line 2; keep one"),
    "nested key twice": ("trials: 10", "trials: 10, trials: 11", "search.trials: stands twice, in line 13 and line 13"),
    "number as a key": ("question:", "7: x\nquestion:", "7: a key is a word, got 7; put it in quotes"),
    "address unused": ("costs:", "compute: {pool: local, address: x}\ncosts:", "compute: address 'x' names a Ray cluster"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_answered_with_its_path(kind: str, study: Path) -> None:
    there, mistake, answer = MISTAKES[kind]
    assert there in SOUND
    study.write_text(SOUND.replace(there, mistake, 1))
    first, *answers = refusal(study)
    assert first == f"{study} is not a valid study:"
    assert any(line.startswith(f"  {answer}") for line in answers), answers


def test_every_mistake_is_listed_at_once(study: Path) -> None:
    text = SOUND
    for kind in ("unknown key, near", "word for a number", "negative fee", "range key", "key twice"):
        text = text.replace(*MISTAKES[kind][:2], 1)
    study.write_text(text)
    answers = refusal(study)
    assert len(answers) == 7  # the heading, these five, and the high that hi leaves out


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"", "is empty"),
        (b"# only a remark\n", "is empty"),
        (b"- a\n- b\n", "a study is a mapping of keys (name: ...), got a list"),
        (b"just words\n", "a study is a mapping of keys (name: ...), got a str"),
        (b"name: a\nmarket:\n\tsource: csv\n", "line 3, column 1: a tab; YAML is indented with spaces"),
        (b"name: [a\n", "line 2, column 1: is not YAML"),
        (b"name: a\n---\nname: b\n", "is not YAML"),
        (b"name: !!python/object/apply:os.system [ls]\n", "is not YAML"),
        (b"name: !!int x\n", "is not YAML"),
        (b"name: \xff\n", "is not UTF-8 text (byte 6)"),
        (b"name: a\x00b\n", "character 7 cannot stand in YAML"),
        (b"[" * 5000, "is nested too deeply"),
    ],
)
def test_a_file_that_is_no_study_is_refused_in_one_sentence(content: bytes, answer: str, study: Path) -> None:
    study.write_bytes(content)
    (line,) = refusal(study)
    assert line.startswith(f"{study}: ")
    assert answer in line


def test_a_missing_study_names_its_neighbours(study: Path) -> None:
    (line,) = refusal(study.with_name("sond.yaml"))
    assert "no such file; did you mean sound.yaml?" in line
    (line,) = refusal(study.parent)
    assert "is a folder" in line


# ---- overrides


def test_overrides_are_yaml_and_make_the_keys_on_the_way(study: Path) -> None:
    config = load_study(
        study,
        [
            "search.trials=200",
            "costs.fee_bps=1e1",
            "strategy.search.lookback=[20, 30]",
            "compute.workers=2",
            "market.start=",
        ],
    )
    assert (config.search.trials, config.costs.fee_bps, config.compute.workers) == (200, 10.0, 2)
    assert config.strategy.search["lookback"] == [20, 30]
    assert config.market.start is None


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("search.trails=3", "search.trails: unknown key; did you mean trials?"),
        ("trials", "--set trials: key.path=value is needed, such as search.trials=200"),
        ("search..trials=3", "--set search..trials=3: key.path=value is needed"),
        ("=3", "--set =3: key.path=value is needed"),
        ("name.first=x", "--set name.first=x: name is 'sound', which has no keys; set it whole"),
        ("search={trials: 3, trials: 4}", "--set search={trials: 3, trials: 4}: trials: stands twice"),
        ("search=[", "--set search=[: line 1, column 2: is not YAML"),
        ("search.trials=many", "search.trials: Input should be a valid integer, got 'many'"),
    ],
)
def test_a_wrong_override_is_refused_like_the_file(override: str, answer: str, study: Path) -> None:
    assert any(line.startswith(f"  {answer}") for line in refusal(study, (override,)))
