"""The command `hedgegrid` (= `python -m cluster`). Exit codes: 0 done, 2 refused input, 1 failed, 130 interrupted."""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from kernels.errors import BackendError, InputError

app = typer.Typer(
    name="hedgegrid",
    help="Finds hedge settings that survive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(no_args_is_help=True, help="Market data.")
kernel_app = typer.Typer(no_args_is_help=True, help="Generated kernels.")
cluster_app = typer.Typer(no_args_is_help=True, help="Files that launch a cluster.")
app.add_typer(data_app, name="data")
app.add_typer(kernel_app, name="kernel")
app.add_typer(cluster_app, name="cluster")

RUNS = Path("runs")
WIDE = 160  # columns of text where there is no terminal
StudyFile = Annotated[Path, typer.Argument(help="The study file (YAML).", show_default=False)]
AnyStudy = Annotated[str, typer.Argument(help="A study file, a study's name, or its folder.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key: --set search.trials=200 (may be repeated).")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the results, one folder per study.")]


@app.command()
def run(
    study: StudyFile,
    overrides: Overrides = None,
    runs: Runs = RUNS,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the study that is in its folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the final table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on standard output.")] = False,
) -> None:
    """Run a study: backtest, score and record every trial. Ctrl-C finishes what is under way; a second stops at once."""
    from cluster import console as view
    from cluster.config import load_study, studies
    from cluster.job import run as run_job
    from cluster.live import Live
    from cluster.plan import make_plans
    from cluster.pool import PoolError
    from cluster.portfolio import conclude
    from cluster.stopping import INTERRUPTED, Stop
    from tracking.address import TrackingError

    console = _console(stderr=as_json)
    with console.status("reading market and strategy") if console.is_terminal and not quiet else nullcontext():
        whole = load_study(study, overrides or [])
        plans = make_plans(studies(whole), runs)
    live = Live(console, quiet=quiet or as_json)
    portfolio = None
    again = _again(study, overrides or [], runs)
    try:
        with Stop(live.stopping, lambda: live.leave(_kept(live.interrupted, again))) as stop:
            outcomes = run_job(plans, live, resume=resume, stop=stop, again=again)
            if len(outcomes) > 1:
                portfolio = conclude(whole.name, runs, outcomes)
    except KeyboardInterrupt:
        live.close()
        _stop(live.interrupted, again, INTERRUPTED)
    except (BackendError, PoolError, TrackingError, OSError) as error:
        live.close()
        _stop(f"failed: {error}", again)
    finally:
        live.close()
    if as_json:
        print(view.outcome_json(outcomes, portfolio))
    elif portfolio is None:
        view.show_outcome(console, outcomes[0])
    else:
        view.show_tickers(console, outcomes, portfolio)


@app.command()
def plan(study: StudyFile, overrides: Overrides = None, runs: Runs = RUNS) -> None:
    """Show what a study would do: configurations, chunks, bytes, backend and why, estimated time. Runs nothing."""
    from cluster import console as view
    from cluster.config import load_study, studies
    from cluster.plan import make_plans

    console = _console()
    for plan in make_plans(studies(load_study(study, overrides or [])), runs):
        view.show_plan(console, plan)


@app.command()
def status(
    study: AnyStudy,
    runs: Runs = RUNS,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until it has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how a study gets on that runs elsewhere, or how it ended. Only reads files."""
    from cluster.status import find
    from cluster.status_view import show

    show(_console(), find(study, runs), watch=watch, to_json=as_json)


@app.command()
def repair(
    study: Annotated[Path, typer.Argument(help="A study's folder (runs/NAME), or its study file.", show_default=False)],
    runs: Runs = RUNS,
) -> None:
    """Verify a study's files, and make its runs in MLflow again from them."""
    from cluster.repair import repair as put_right
    from cluster.repair import show_repaired

    console = _console()
    for repaired in put_right(study, runs):
        show_repaired(console, repaired)


@app.command()
def validate(
    study: AnyStudy,
    runs: Runs = RUNS,
) -> None:
    """Open the bars that a finished study has not seen, once, and judge its winner by them."""
    from cluster.conclusion import validate as open_and_judge
    from cluster.kept import only_folder, open_kept
    from cluster.validation_view import show_opened

    kept = open_kept(only_folder(study, runs))
    show_opened(_console(), kept.plan, open_and_judge(kept))


@app.command()
def rescore(
    study: AnyStudy,
    targets: Annotated[Path, typer.Option(help="YAML: targets by metric, or a study file.", show_default=False)],
    runs: Runs = RUNS,
) -> None:
    """Apply new targets to a study's results, without a backtest."""
    from cluster import kept, rescore

    for folder in kept.folders(study, runs):
        rescore.show_rescored(_console(), rescore.rescore(folder, targets), targets)


@app.command()
def export(
    study: AnyStudy,
    to: Annotated[Path | None, typer.Option(help="Folder of the files; default: export/ in the study's.")] = None,
    trial: Annotated[int | None, typer.Option(help="Another trial than the best.", min=0)] = None,
    form: Annotated[Literal["yaml", "json", "both"], typer.Option("--as", help="How it is written.")] = "both",
    runs: Runs = RUNS,
) -> None:
    """Write a finished study's winner: rule, weights to hold now, provenance, and a study file that repeats it."""
    from cluster import export, kept

    for folder in kept.folders(study, runs):
        export.show_exported(_console(), export.export(folder, to=to, trial=trial, form=form))


@app.command()
def compare(study: AnyStudy, other: AnyStudy, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """Show two finished studies side by side: inputs that differ, winners, and whether their difference is real."""
    from cluster import compare, compare_view

    found = compare.compare(study, other, runs)
    print(compare.as_json(found)) if as_json else compare_view.show_comparison(_console(), found)


@app.command()
def report(
    study: Annotated[str, typer.Argument(help="A study file, a study's name, or its folder.", show_default=False)],
    runs: Runs = RUNS,
) -> None:
    """Make the report of a finished study again: one HTML file, verdict first, that opens without a network."""
    from cluster.report_again import remake

    for path in remake(study, runs):
        print(path)


@app.command()
def heatmap(
    study: StudyFile,
    metric: Annotated[str, typer.Argument(help="A metric, or score.", show_default=False)],
    x: Annotated[str, typer.Argument(help="A searched parameter, across.", show_default=False)],
    y: Annotated[str, typer.Argument(help="Another one, upwards.", show_default=False)],
    overrides: Overrides = None,
    runs: Runs = RUNS,
) -> None:
    """Draw any metric of a finished study over any two searched parameters."""
    from cluster.config import load_study
    from cluster.plan import make_plan
    from cluster.study_figures import draw_heatmap

    for path in draw_heatmap(make_plan(load_study(study, overrides or []), runs), metric, x, y):
        print(path)


@data_app.command("check")
def data_check(study: StudyFile, overrides: Overrides = None) -> None:
    """Show a study's market as the engine sees it, and everything suspicious in it."""
    from cluster import console as view
    from cluster.book_sources import market_of
    from cluster.config import load_study, studies
    from kernels import Market
    from kernels.market_check import describe

    console = _console()
    for each in studies(load_study(study, overrides or [])):
        market = market_of(each)
        if isinstance(market, Market):
            view.show_market(console, describe(market))
        else:
            view.show_option_market(console, market)


@kernel_app.command("show")
def kernel_show(
    strategy: Annotated[str, typer.Argument(help="A strategy of the catalogue, or of --file.", show_default=False)],
    backend: Annotated[Literal["cuda", "numba"], typer.Option(help="Which form of it.")] = "cuda",
    file: Annotated[Path | None, typer.Option(help="A user's own strategy file.")] = None,
    assets: Annotated[int, typer.Option(help="Assets the kernel is made for.", min=1)] = 8,
    precision: Annotated[Literal["float64", "mixed"], typer.Option(help="Of its state.")] = "float64",
) -> None:
    """Print the source generated from a strategy."""
    from cluster.plan import read_code
    from kernels import load_strategy
    from kernels.backends import generated_source

    code = read_code(file, "--file") if file else None
    chosen = load_strategy(strategy, code, origin=str(file))
    print(generated_source(chosen, backend, n_assets=assets, precision=precision), end="")


@cluster_app.command("check")
def cluster_check(
    file: Annotated[
        Path, typer.Argument(help="Launcher, KubeRay, SkyPilot, Compose or Dockerfile.", show_default=False)
    ],
) -> None:
    """Show what a file such as configs/clusters/aws.yaml would launch, or every reason not to. Launches nothing."""
    from cluster.cluster_check import check, show

    show(_console(), check(file))


@app.command()
def strategies() -> None:
    """List the strategies with their parameters, ranges, defaults and units."""
    from cluster import console as view
    from kernels import STRATEGIES

    view.show_strategies(_console(), STRATEGIES.values())


@app.command()
def schema() -> None:
    """Print the JSON Schema of a study file."""
    from cluster.config import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command()
def mlflow(
    backend: Annotated[str, typer.Option(help="The database with the records.", envvar="MLFLOW_BACKEND_STORE_URI")] = (
        "sqlite:///mlflow.db"
    ),
    port: Annotated[int, typer.Option(help="0 is any free one.", min=0, max=65535)] = 5000,
    host: Annotated[str, typer.Option(help="Where it listens; 127.0.0.1 is for this machine alone.")] = "127.0.0.1",
    allowed_hosts: Annotated[str | None, typer.Option(help="Names under which others reach it, by commas.")] = None,
    artifacts: Annotated[Path | None, typer.Option(help="Folder of files; default: beside the database.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1, max=8)] = 1,
    create: Annotated[bool, typer.Option("--create", help="Begin an empty SQLite file.")] = False,
) -> None:
    """Browse trials: start MLflow's server on this machine, until Ctrl-C."""
    from cluster.mlflow_server import ServerError, make_server, serve

    try:
        serve(
            make_server(
                backend,
                artifacts=artifacts,
                host=host,
                port=port,
                allowed_hosts=allowed_hosts,
                workers=workers,
                create=create,
            )
        )
    except ServerError as error:
        print(f"failed: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.command()
def doctor() -> None:
    """Show versions, the backends that work here and why others do not, Ray and MLflow."""
    from cluster.doctor import examine

    examine(_console())


def main() -> None:
    """Run the command; refused input ends with code 2 and one sentence per mistake, other failures with 1."""
    try:
        app(prog_name="hedgegrid")
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        sys.exit(2)
    except BackendError as error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(1)


def _console(*, stderr: bool = False) -> Console:
    """The terminal; a file or a pipe is as wide as COLUMNS, or WIDE."""
    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(stderr=stderr, highlight=False, width=wide)


def _again(study: Path, overrides: list[str], runs: Path) -> str:
    """The command that goes on with a study."""
    words = ["hedgegrid", "run", str(study), *(word for o in overrides for word in ("--set", o))]
    words += [] if runs == RUNS else ["--runs", str(runs)]
    return shlex.join([*words, "--resume"])


def _kept(what: str, again: str) -> str:
    return f"{what}; what was finished is kept, continue with:\n  {again}"


def _stop(what: str, again: str, code: int = 1) -> NoReturn:
    print(_kept(what, again), file=sys.stderr)
    raise typer.Exit(code)
