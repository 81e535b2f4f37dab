"""The command: what it prints, what it leaves, and the code it ends with."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console
from studies import OPTIONS, SMALL, TRIALS, write_study

from cluster import output
from cluster.cli import main
from cluster.config import json_schema, load_study, studies
from cluster.live import Live
from cluster.plan import make_plan
from cluster.pool import LocalPool
from kernels import STRATEGIES

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted((ROOT / "configs" / "studies").glob("*.yaml"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the small study in it; runs draw no pictures."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "draw", lambda *_: ())
    return tmp_path


class Command:
    """`hedgegrid` in this process: how it ended, and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch
        self.out = self.err = ""

    def __call__(self, *words: str) -> int:
        self._monkeypatch.setattr(sys, "argv", ["hedgegrid", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        self.out, self.err = self._capsys.readouterr()
        return int(ended.value.code or 0)


@pytest.fixture
def hedgegrid(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


UNTRACKED = ("--set", "tracking.enabled=false")


# ---- run


def test_a_run_tells_what_it_did_where_no_terminal_is(folder: Path, hedgegrid: Command) -> None:
    assert hedgegrid("run", "small.yaml") == 0
    assert "small  tsmom_hedge on 2 assets x 225 bars, 14 configurations (6,300 bar-steps)" in hedgegrid.out
    assert "backend numpy: asked for; this process" in hedgegrid.out
    assert f"best of {TRIALS} trials beside the baselines" in hedgegrid.out
    assert re.search(r"trial \d+ .* of 4", hedgegrid.out)
    assert re.search(r"disabled .* of 4", hedgegrid.out)
    assert "targets: sharpe >= 1.00" in hedgegrid.out
    assert "files: runs/small/" in hedgegrid.out
    assert f"hedgegrid mlflow --backend sqlite:///{folder}/mlflow.db" in hedgegrid.out
    assert "http://localhost:5000/#/experiments/" in hedgegrid.out
    assert "\x1b" not in hedgegrid.out  # no colours, no bar
    assert hedgegrid.err == ""


def test_no_line_is_wider_than_the_terminal_but_paths(
    folder: Path, hedgegrid: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in (80, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        assert hedgegrid("run", "small.yaml", *UNTRACKED, "--runs", f"runs{width}") == 0
        assert max(map(len, hedgegrid.out.splitlines())) <= width
        assert "…" not in hedgegrid.out
        assert "hedge_threshold" in hedgegrid.out
        assert "disabled" in hedgegrid.out


def test_quiet_shows_the_result_alone(folder: Path, hedgegrid: Command) -> None:
    assert hedgegrid("run", "small.yaml", *UNTRACKED, "--quiet") == 0
    assert hedgegrid.out.lstrip().startswith("small: best of")


def test_json_stands_alone_on_standard_output(folder: Path, hedgegrid: Command) -> None:
    assert hedgegrid("run", "small.yaml", "--json") == 0
    outcome = json.loads(hedgegrid.out)
    assert (outcome["study"], outcome["trials"], outcome["evaluated"]) == ("small", TRIALS, TRIALS)
    assert outcome["best"][0]["score"] == max(row["score"] for row in outcome["best"])
    assert set(outcome["baselines"]) == {"disabled", "full"}
    assert Path(outcome["folder"], "best.yaml").exists()


def test_overrides_and_another_folder(folder: Path, hedgegrid: Command) -> None:
    words = ("--set", "search.sampler=random", "--set", "search.trials=7", "--runs", "elsewhere", "--json", *UNTRACKED)
    assert hedgegrid("run", "small.yaml", *words) == 0
    assert json.loads(hedgegrid.out)["trials"] == 7
    resolved = yaml.safe_load((folder / "elsewhere" / "small" / "study.yaml").read_text())
    assert resolved["search"] == {
        **{"sampler": "random", "trials": 7, "batch": 5, "seed": 3},
        **{"scope": "portfolio", "over_paths": "median"},
    }
    assert not (folder / "runs").exists()


def test_a_study_that_is_there_is_refused_and_resumed_when_asked(folder: Path, hedgegrid: Command) -> None:
    assert hedgegrid("run", "small.yaml", *UNTRACKED, "--quiet") == 0
    assert hedgegrid("run", "small.yaml", *UNTRACKED) == 2
    assert hedgegrid.err.startswith("refused: runs/small already holds a study")
    assert "--resume" in hedgegrid.err
    assert hedgegrid("run", "small.yaml", *UNTRACKED, "--resume", "--json") == 0
    assert json.loads(hedgegrid.out)["evaluated"] == 0


def test_a_failure_is_code_1_and_says_how_to_go_on(
    folder: Path, hedgegrid: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output, "write", full)
    assert hedgegrid("run", "small.yaml", *UNTRACKED) == 1
    assert "failed: [Errno 28] No space left on device" in hedgegrid.err
    assert "hedgegrid run small.yaml --set tracking.enabled=false --resume" in hedgegrid.err


@pytest.fixture
def tickers(folder: Path) -> Path:
    """A study file of two tickers, of which each is a study."""
    market = OPTIONS["market"] | {"scenarios": 2, "days": 31}
    content = OPTIONS | {"market": market, "compute": {"backend": "numpy"}}
    (folder / "calls.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def test_the_studies_of_tickers_are_told_together(tickers: Path, hedgegrid: Command) -> None:
    assert hedgegrid("run", "calls.yaml") == 0
    for ticker in ("NEAR", "FAR"):
        assert f"calls-{ticker}  option_hedge on {ticker} x 2 paths x 32 bars, 7 configurations" in hedgegrid.out
        assert f"\n{ticker}: size" in hedgegrid.out
        assert f"files: runs/calls-{ticker}/" in hedgegrid.out
    assert hedgegrid.out.count("backend numpy") == hedgegrid.out.count("writing files and figures") == 1
    ending = hedgegrid.out[hedgegrid.out.index("the best of each ticker") :]
    assert re.search(r"time of all: [\d.]+ s; .*backtests [\d.]+ s", ending)

    assert hedgegrid("run", "calls.yaml") == 2
    assert hedgegrid.err.count("already holds a study (6 of 6 trials done") == 2

    assert hedgegrid("run", "calls.yaml", "--resume", "--json") == 0
    outcomes = json.loads(hedgegrid.out)["studies"]
    assert [(o["study"], o["evaluated"]) for o in outcomes] == [("calls-NEAR", 0), ("calls-FAR", 0)]


@pytest.mark.parametrize(
    ("width", "told"), [(160, "best NEAR 0.500, FAR 0.250"), (80, "best 0.250 to 0.500")], ids=["wide", "narrow"]
)
def test_a_bar_tells_the_best_of_each_ticker_where_there_is_room(tickers: Path, width: int, told: str) -> None:
    plans = [make_plan(each, tickers) for each in studies(load_study("calls.yaml"))]
    shown = io.StringIO()
    live = Live(Console(file=shown, force_terminal=True, width=width, color_system=None))
    live.started(plans, LocalPool([plan.task for plan in plans]), [0, 0])
    for plan, score in zip(plans, (0.5, 0.25), strict=True):
        live.scored(plan, pd.DataFrame({"score": [0.125, score]}))
    live.close()
    assert told in shown.getvalue()


# ---- the other commands


def test_a_plan_runs_nothing_and_writes_nothing(folder: Path, hedgegrid: Command) -> None:
    before = sorted(folder.rglob("*"))
    assert hedgegrid("plan", "small.yaml") == 0
    assert sorted(folder.rglob("*")) == before
    for words in (
        "2 assets x 225 bars, 2020-01-01 to 2020-08-12",
        f"{TRIALS} trials and 2 baselines by grid",
        "configurations, in batches of 5",
        "hedge_threshold, hedge_strength",
        "numpy: asked for",
        "KiB",
        "configurations/s on one worker, measured here",
        "runs/small",
        f"sqlite:///{folder}/mlflow.db",
    ):
        assert words in hedgegrid.out, words


def test_the_gaps_of_a_market_are_listed(folder: Path, hedgegrid: Command, shared_data: Path) -> None:
    path = shared_data / "crypto_hourly.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the data folder")
    market = f"market={{source: parquet, path: {path}, gaps: keep}}"
    assert hedgegrid("data", "check", "small.yaml", "--set", market) == 0
    assert len(re.findall(r"missing after \d{4}-\d\d-\d\d", hedgegrid.out)) == 15
    assert hedgegrid("data", "check", "small.yaml", "--set", market.replace("keep", "refuse")) == 2
    assert "gaps: keep" in hedgegrid.err


def test_padding_and_an_unfinished_bar_are_told(folder: Path, hedgegrid: Command, shared_data: Path) -> None:
    path = shared_data / "crypto8_daily.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the data folder")
    assert hedgegrid("data", "check", "small.yaml", "--set", f"market={{source: parquet, path: {path}}}") == 0
    assert "SOL: close does not move in 223 bars (2020-01-01 to 2020-08-10)" in hedgegrid.out
    assert "AVAX: close does not move in 265 bars" in hedgegrid.out
    assert "it looks unfinished" in hedgegrid.out


def test_a_sound_market_is_called_so(folder: Path, hedgegrid: Command) -> None:
    assert hedgegrid("data", "check", "small.yaml") == 0
    assert "SYN1, SYN2" in hedgegrid.out
    assert "nothing suspicious found" in hedgegrid.out


@pytest.mark.parametrize(("backend", "mark"), [("cuda", "__global__"), ("numba", "def kernel(")])
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_source_of_a_kernel_is_shown(hedgegrid: Command, backend: str, mark: str, name: str) -> None:
    assert hedgegrid("kernel", "show", name, "--backend", backend) == 0
    assert mark in hedgegrid.out
    assert name in hedgegrid.out


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("width", ["80", "140"])
def test_the_catalogue_names_every_parameter_whole(
    hedgegrid: Command, monkeypatch: pytest.MonkeyPatch, name: str, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert hedgegrid("strategies") == 0
    assert f"{name}  " in hedgegrid.out
    assert all(parameter.name in hedgegrid.out for parameter in STRATEGIES[name].parameters)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_schema_takes_every_study_that_ships(hedgegrid: Command, path: Path) -> None:
    assert hedgegrid("schema") == 0
    schema = json.loads(hedgegrid.out)
    assert schema == json_schema()
    study = yaml.safe_load(path.read_text())
    try:
        import jsonschema
    except ImportError:
        assert set(study) <= set(schema["properties"])
        assert set(schema["required"]) <= set(study)
    else:
        jsonschema.validate(study, schema)


def test_the_doctor_says_what_works_and_why_not(hedgegrid: Command, folder: Path) -> None:
    assert hedgegrid("doctor") == 0
    assert re.search(r"backend numpy +│ works", hedgegrid.out)
    assert re.search(r"backend cuda +│ (works|not here: )", hedgegrid.out)
    assert "mlflow 3." in hedgegrid.out
    assert sorted(path.name for path in folder.iterdir()) == ["small.yaml"]


# ---- what was mistyped


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("run", "smal.yaml"), "smal.yaml: no such file; did you mean small.yaml?"),
        (("plan", "."), ".: is a folder"),
        (("kernel", "show", "tsmom_hegde"), "no strategy 'tsmom_hegde'; did you mean tsmom_hedge?"),
        (("kernel", "show", "mine", "--file", "mine.py"), "--file: mine.py: no such file"),
        (("kernel", "show", "mine", "--file", "small.yaml"), "small.yaml"),
        (("kernel", "show", "tsmom_hedge", "--backend", "numpy"), "'numpy' is not one of 'cuda', 'numba'"),
        (("kernel", "show", "tsmom_hedge", "--precision", "float32"), "'float32' is not one of"),
        (("kernel", "show", "tsmom_hedge", "--assets", "0"), "'--assets': Input should be greater than or equal to 1"),
        (("data", "check", "small.yaml", "--set", "market.source=cvs"), "market.source: choose one of"),
        (("run", "small.yaml", "--set", "search.trials"), "key.path=value is needed"),
        (("rum",), "No such command 'rum'"),
        (("run",), "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistyped_command_is_refused_with_the_way_out(
    folder: Path, hedgegrid: Command, words: tuple[str, ...], answer: str
) -> None:
    assert hedgegrid(*words) == 2
    assert answer in " ".join(hedgegrid.err.replace("│", "").split())  # whatever the width
    assert "Traceback" not in hedgegrid.err
    assert sorted(path.name for path in folder.iterdir()) == ["small.yaml"]


# ---- as a program of its own


def start(folder: Path, *words: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-W", "error", "-m", "cluster", *words], cwd=folder, **options)


def test_help_and_schema_come_without_the_heavy_packages(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom cluster.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('ray', 'mlflow', 'optuna', 'plotly', 'matplotlib', 'numba') if name in sys.modules])"
    )
    for words in (["--help"], ["schema"]):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]", words


def test_a_terminal_gets_a_progress_bar_and_no_noise(tmp_path: Path) -> None:
    write_study(tmp_path)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    process = start(tmp_path, "run", "small.yaml", stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(timeout=30) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"configurations ━+ 14/14 [\d,]+/s", text)
    assert "best 0." in text
    for noise in ("INFO", "WARN", "alembic", "mlflow.store", "Warning"):
        assert noise not in text


def test_an_interrupt_says_how_to_resume_and_resuming_completes(tmp_path: Path) -> None:
    write_study(tmp_path)
    words = ("run", "small.yaml", "--set", "search.sampler=random", "--set", "search.trials=3000", *UNTRACKED)
    process = start(tmp_path, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    parts = tmp_path / "runs" / "small" / "configs"
    deadline = time.monotonic() + 60
    while len(list(parts.glob("part-*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.search(
        rb"interrupted, \d+ of 3,000 trials done; what was finished is kept, continue with:\n  hedgegrid run", told
    )
    assert b"Traceback" not in told
    resume = told.decode().splitlines()[-1].split()[1:]
    assert resume == [*words, "--resume"]

    done = start(tmp_path, *resume, "--set", "search.batch=3000", "--json", stdout=subprocess.PIPE)
    outcome = json.loads(done.communicate(timeout=60)[0])
    assert (done.returncode, outcome["trials"]) == (0, 3000)
    assert 0 < outcome["evaluated"] < 3000
    table = pd.read_parquet(tmp_path / "runs" / "small" / "configs.parquet")
    assert list(table["trial"]) == list(range(3000))


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = start(tmp_path, "plan", "none.yaml", stderr=subprocess.PIPE)
    assert b"refused: none.yaml: no such file" in done.communicate(timeout=30)[1]
    assert done.returncode == 2


def test_the_small_study_is_what_the_tests_say() -> None:
    assert len(SMALL["strategy"]["search"]["hedge_threshold"]) * 4 == TRIALS
