"""A user's own strategy file: the documented one on every backend, and every way such a file can be wrong."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from histories import history, part
from running import agree, run, some_values

from kernels import STRATEGIES, InputError, Strategy, load_strategy
from kernels.launch import Backend
from kernels.strategy_check import check

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT = (DOCS / "examples" / "my_rule.py").read_text()
ORIGIN = "my_rule.py"


@pytest.fixture(scope="module")
def my_rule() -> Strategy:
    return load_strategy("my_rule", TEXT, origin=ORIGIN)


def refusal(code: str, name: str = "my_rule") -> str:
    """The one sentence that refuses a file."""
    with pytest.raises(InputError) as refused:
        load_strategy(name, code, origin=ORIGIN)
    assert len(refused.value.problems) == 1
    return str(refused.value)


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


def line_of(text: str, code: str = TEXT) -> int:
    return next(i for i, line in enumerate(code.splitlines(), 1) if text in line)


# ---- the worked example


def test_the_documented_file_is_the_tested_one() -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / "own_strategy.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    assert TEXT in blocks


def test_a_users_strategy_runs_on_every_backend(my_rule: Strategy, backend: Backend) -> None:
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({p.name: some_values(p, rng, 80) for p in my_rule.parameters})
    market = history()
    meaning = run(market, my_rule, rows)
    assert (meaning.metrics["trades"] > 0).mean() > 0.5
    assert (meaning.metrics["hedged_share"] > 0).any()
    agree(run(market, my_rule, rows, backend), meaning, backend)


def test_its_warm_up_is_the_first_bar_that_can_hold_an_order(my_rule: Strategy) -> None:
    for window in (10, 60):
        first = my_rule.warm_up({"window": window})
        quiet, ready = (
            run(part(history(), slice(T)), my_rule, pd.DataFrame([{"window": window}])) for T in (first, 90)
        )
        assert quiet.metrics["orders"].iloc[0] == 0
        assert ready.metrics["orders"].iloc[0] > 0


# ---- loading


def test_a_strategy_of_the_catalogue_is_found_by_name() -> None:
    for name, strategy in STRATEGIES.items():
        assert load_strategy(name) is strategy
        check(strategy)


def test_an_unknown_name_is_answered_with_the_nearest_and_the_catalogue() -> None:
    with pytest.raises(InputError) as refused:
        load_strategy("tsmom_hegde")
    assert "did you mean tsmom_hedge? the catalogue has tsmom_hedge" in str(refused.value)


def test_the_same_text_is_the_same_module_and_can_be_pickled(my_rule: Strategy) -> None:
    assert load_strategy("my_rule", TEXT, origin="elsewhere.py") is my_rule
    assert load_strategy("my_rule", TEXT + "\n") is not my_rule
    assert my_rule.step.__module__ in sys.modules
    assert pickle.loads(pickle.dumps(my_rule.step)) is my_rule.step


def test_a_file_that_was_refused_leaves_nothing_behind() -> None:
    before = set(sys.modules)
    refusal(changed("minimum(p.vol_target", "min(p.vol_target"))
    assert {name for name in set(sys.modules) - before if name.startswith("hedgegrid_strategy")} == set()


# ---- what is refused, and where it says the mistake is


def test_a_file_without_a_strategy_or_with_another_name_is_refused() -> None:
    assert "does not define STRATEGY" in refusal(changed("STRATEGY = Strategy(", "RULE = Strategy("))
    assert "defines STRATEGY as a int" in refusal("STRATEGY = 3")
    assert "STRATEGY.name is 'my_rule', but the study asks for 'your_rule'" in refusal(TEXT, name="your_rule")


def test_a_file_that_does_not_run_is_refused_with_its_line() -> None:
    broken = changed("def step(bar: Any,", "def step(bar: Any;")
    assert refusal(broken).startswith(f"my_rule.py, line {line_of('def step', broken)}: SyntaxError: ")
    missing = refusal(changed("import numpy as np", "import numpie as np"))
    assert missing.startswith(f"my_rule.py, line {line_of('import numpy')}: No module named 'numpie'")
    assert "NameError: name 'Parametre' is not defined" in refusal(changed('Parameter("window"', 'Parametre("window"'))
    assert "my_rule.py, line 1: SystemExit" in refusal("raise SystemExit('no')")


RULE_MISTAKES = {
    "a Python branch": ("minimum(p.vol_target", "min(p.vol_target", "size = ", "cannot branch in Python"),
    "NumPy in the rule": ("minimum(p.vol_target", "np.minimum(p.vol_target", "size = ", "kernels.ops.minimum"),
    "an unknown plane": ("bar.drawdown", "bar.drawdawn", "deep = ", "bar.drawdawn: no such plane; this strategy reads"),
    "an unknown parameter": ("p.hedge_below", "p.hedge_under", "deep = ", "p.hedge_under: no such parameter"),
    "an unknown state": ("sign(state.last)", "sign(state.lost)", "turned = ", "no attribute 'lost'"),
    "a condition as a number": ("where(trade, weight, state.last)", "trade", "", "state 'rule.last' is a number"),
}


@pytest.mark.parametrize("mistake", RULE_MISTAKES)
def test_a_mistake_in_the_rule_is_found_before_any_work_and_named_with_its_line(mistake: str) -> None:
    old, new, line, sentence = RULE_MISTAKES[mistake]
    code = changed(old, new)
    said = refusal(code)
    assert sentence in said
    if line:
        assert said.startswith(f"my_rule.py, line {line_of(line, code)}: ")


PLANE_MISTAKES = {
    "missing values": ("missing=np.inf)[0]", "missing=np.nan)[0]", "plane 'volatility' holds NaN"),
    "a wrong shape": (
        "missing=np.inf)[0]",
        "missing=np.inf)[0, :, :1]",
        r"plane 'volatility': shape \(\d+, 2\) is needed",
    ),
    "tomorrow's close": (
        "np.sign(market.close - mean)",
        "np.sign(np.roll(market.close, -2, axis=0) - mean)",
        r"plane 'trend' looks ahead: its value at bar \d+ changes when the bars from \d+ on are cut off",
    ),
    "the mean of all bars": (
        "np.sign(market.close - mean)",
        "np.sign(market.close - market.close.mean(axis=0) + 0.0 * mean)",
        "plane 'trend' looks ahead",
    ),
    "an unknown key": ('keys=("window",)', 'keys=("windows",)', "key 'windows' is no parameter; parameters are window"),
    "a taken name": ('Plane("drawdown"', 'Plane("close"', "plane 'close': every market has a plane of that name"),
}


@pytest.mark.parametrize("mistake", PLANE_MISTAKES)
def test_a_plane_that_cannot_be_traded_on_is_refused(mistake: str) -> None:
    old, new, sentence = PLANE_MISTAKES[mistake]
    assert re.search(sentence, refusal(changed(old, new)))


def test_every_mistake_in_the_declarations_is_named_at_once() -> None:
    code = changed('Parameter("vol_target", 0.3, 0.05', 'Parameter("vol target", 3.0, 0.05')
    code = code.replace("-0.2, -0.9, -0.01", "-0.2, -0.01, -0.9").replace("per_asset(0.0)", "0.0")
    with pytest.raises(InputError) as refused:
        load_strategy("my_rule", code, origin=ORIGIN)
    assert [p.removeprefix("my_rule.py: ").partition(":")[0] for p in refused.value.problems] == [
        "parameter 'vol target'",
        "parameter 'vol target'",
        "parameter 'hedge_below'",
        "state.last",
    ]


def test_a_strategy_without_parameters_and_a_plane_of_an_optional_one_are_refused() -> None:
    none = TEXT[: TEXT.index("    parameters=(")] + "    parameters=(),\n" + TEXT[TEXT.index("    planes=(") :]
    with pytest.raises(InputError, match="parameters is empty"):
        load_strategy("my_rule", none, origin=ORIGIN)
    optional = changed("integer=True, doc=", "integer=True, optional=True, doc=")
    assert "key 'window' is an optional parameter, and a plane needs a value" in refusal(optional)
