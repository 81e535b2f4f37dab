"""The command `hedgegrid` (= `python -m cluster`). Exit codes: 0 done, 2 refused input, 1 failed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

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
app.add_typer(data_app, name="data")
app.add_typer(kernel_app, name="kernel")

StudyFile = Annotated[Path, typer.Argument(help="The study file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key: --set search.trials=200 (may be repeated).")
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the results, one folder per study.")]


@app.command()
def run(
    study: StudyFile,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the study that is in its folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the final table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on standard output.")] = False,
) -> None:
    """Run a study: backtest, score and record every trial."""
    from cluster import console as view
    from cluster.config import load_study
    from cluster.job import run as run_job
    from cluster.plan import make_plan

    plan = make_plan(load_study(study, overrides or []), runs)
    console = Console(stderr=as_json, highlight=False)
    live = view.Live(console, quiet=quiet or as_json)
    try:
        outcome = run_job(plan, live, resume=resume)
    except KeyboardInterrupt:
        live.close()
        console.print(f"interrupted; what was finished is kept: hedgegrid run {study} --resume")
        raise typer.Exit(1) from None
    finally:
        live.close()
    if as_json:
        print(view.outcome_json(outcome))
    else:
        view.show_outcome(console, outcome)


@app.command()
def plan(study: StudyFile, overrides: Overrides = None, runs: Runs = Path("runs")) -> None:
    """Show what a study would do: configurations, chunks, bytes, backend and why, estimated time. Runs nothing."""
    from cluster import console as view
    from cluster.config import load_study
    from cluster.plan import make_plan

    view.show_plan(Console(highlight=False), make_plan(load_study(study, overrides or []), runs))


@data_app.command("check")
def data_check(study: StudyFile, overrides: Overrides = None) -> None:
    """Show a study's market as the engine sees it, and everything suspicious in it."""
    from cluster import console as view
    from cluster import sources
    from cluster.config import load_study
    from kernels.market_check import describe

    view.show_market(Console(highlight=False), describe(sources.load(load_study(study, overrides or []).market)))


@kernel_app.command("show")
def kernel_show(
    strategy: Annotated[str, typer.Argument(help="A strategy of the catalogue, or of --file.", show_default=False)],
    backend: Annotated[str, typer.Option(help="cuda or numba.")] = "cuda",
    file: Annotated[Path | None, typer.Option(help="A user's own strategy file.")] = None,
    assets: Annotated[int, typer.Option(help="Assets the kernel is made for.", min=1)] = 8,
    precision: Annotated[str, typer.Option(help="float64 or mixed.")] = "float64",
) -> None:
    """Print the source generated from a strategy."""
    from kernels import load_strategy
    from kernels.backends import generated_source

    code = file.read_text(encoding="utf-8") if file else None
    print(generated_source(load_strategy(strategy, code), backend, n_assets=assets, precision=precision), end="")


@app.command()
def strategies() -> None:
    """List the strategies with their parameters, ranges, defaults and units."""
    from cluster import console as view
    from kernels import STRATEGIES

    view.show_strategies(Console(highlight=False), STRATEGIES.values())


@app.command()
def schema() -> None:
    """Print the JSON Schema of a study file."""
    from cluster.config import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command()
def doctor() -> None:
    """Show versions, the backends that work here and why others do not, Ray and MLflow."""
    from cluster.doctor import examine

    examine(Console(highlight=False))


def main() -> None:
    """Run the command; refused input ends with code 2 and one sentence per mistake, other failures with 1."""
    from cluster.pool import PoolError
    from tracking.address import TrackingError

    try:
        app()
    except (InputError, TrackingError) as error:
        print(f"refused: {error}", file=sys.stderr)
        sys.exit(2)
    except (BackendError, PoolError) as error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(1)
