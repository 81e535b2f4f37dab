"""What a study is going to do, before it does it: everything that can be refused is refused here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from cluster.book_sources import check_book, market_of
from cluster.config import ComputeConfig, StudyConfig
from cluster.earlier import earlier_study
from cluster.holdout import Holdout, hide, periods
from cluster.pool import cores
from cluster.ray_cluster import look
from cluster.rival import check as check_rival
from cluster.study_text import missing_file
from cluster.worker import Task
from kernels import STRATEGIES, Costs, Market, Strategy, load_strategy
from kernels.backends import Choice, choose, why_not
from kernels.blocks import sums_of
from kernels.errors import InputError
from kernels.limit_stage import applied
from kernels.option_market import OptionMarket
from kernels.planes import market_planes
from kernels.program import Program
from kernels.risk_settings import Limits
from search import samplers
from search.dimension import Choices
from search.objectives import Objectives
from search.patience import check_patience
from search.periods import Periods
from search.points import Points
from search.space import Space
from search.study import Study
from search.targets import Targets
from search.warm_start import Earlier
from tracking.address import TrackingError, check_tracking_uri
from tracking.panels import Quantity

BATCH = 262_144  # trials at most in one part of the results, where points do not depend on results
LEARNING_BATCH = 16  # and where they do
SAMPLE = 512  # configurations that the estimate of the run time is measured on

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """A study that can be run."""

    config: StudyConfig
    folder: Path
    market: Market | OptionMarket  # what the search sees of it
    holdout: Holdout | None
    periods: Periods | None
    strategy: Strategy
    code: str | None
    costs: Costs
    space: Space
    targets: Targets
    baselines: pd.DataFrame
    choice: Choice
    trials: int
    batch: int
    earlier: Earlier | None = None
    objectives: Objectives | None = None

    @property
    def task(self) -> Task:
        """What the workers are given."""
        return Task(
            self.market,
            self.strategy.name,
            self.code,
            self.costs,
            self.choice.backend.name,
            self.config.compute.precision,
            self.off,
            self.config.search.over_paths,
            self._points,
            self.periods,
            self.limits,
            frozenset(self.space.searched),
        )

    @property
    def limits(self) -> Limits | None:
        """The risk limits that every backtest of the study runs under."""
        return self.config.risk_limits.limits

    @property
    def _points(self) -> Points | None:
        search, space = self.config.search, self.space
        if search.sampler not in samplers.POINTS:
            return None
        return Points(space.constants, space.dimensions, self.targets, search.sampler, search.seed)

    @property
    def whole(self) -> Market | OptionMarket:
        """The market with the bars that the search does not see."""
        return self.holdout.market if self.holdout else self.market

    @property
    def data_digest(self) -> str:
        """Names the whole history, whatever the search sees of it."""
        return self.whole.digest

    @property
    def looks_back(self) -> int:
        """Bars before the first order, with the largest parameters that the study asks for."""
        return _looks_back(self.space, self.baselines)

    @property
    def off(self) -> frozenset[str]:
        """Optional parameters that no trial and no baseline sets."""
        return frozenset(n for n in self.space.none_everywhere if self.baselines.get(n, pd.Series()).isna().all())

    @property
    def configurations(self) -> int:
        """Configurations of all trials."""
        return self.trials * self.config.search.configs_per_trial

    @property
    def together(self) -> int:
        """Configurations of one batch."""
        return min(self.batch, self.trials) * self.config.search.configs_per_trial

    def metric(self, name: str) -> Quantity:
        """How a metric of the strategy, or the score, is shown; its name is that of its column in the results."""
        if name == "score":
            return Quantity("score", good=+1)
        metric = self.strategy.metrics[name]
        return Quantity(self.space.measured(name), metric.unit, metric.good)

    def parameter(self, name: str) -> Quantity:
        """How a parameter of the strategy is shown."""
        return Quantity(name, self.strategy.parameter(name).unit)

    @property
    def workers(self) -> int:
        """Workers that compute: what the study says, at an address else one per GPU or part of the cores there."""
        compute = self.config.compute
        if compute.address:
            return look(compute.address).share(compute.workers, gpus=self.choice.backend.name == "cuda")[0]
        return compute.workers or 1

    @property
    def runs_here(self) -> bool:
        """Whether this machine can run the backend: one chosen for a cluster's GPUs it may not."""
        return why_not(self.choice.backend.name) is None

    @property
    def blocks(self) -> int:
        """Calendar months that have a return."""
        return len(pd.Series(self.market.timestamps[1:].astype("datetime64[M]")).unique())

    def bytes(self) -> dict[str, int]:
        """Memory of the large things: the market's planes, one slice of a bank, statistics of one launch, the results."""
        plane = 8 * self.market.n_scenarios * self.market.n_bars * self.market.n_assets
        program = Program(self.strategy, self.market.n_assets, limits=self.limits)
        own = sum(len(each.names(program.n_assets)) for each in program.planes)
        most = 8 * len(sums_of(self.strategy.account)) * self.blocks * self.market.n_scenarios * self.together
        return {
            "planes of the market": plane * (len(market_planes(self.market, self.costs)) + own),
            "one more value of a lookback": plane,
            "statistics of one launch": min(self.choice.backend.output_bytes, most) if self.runs_here else most,
            "results of one batch": 8 * self.together * (len(self.strategy.parameters) + len(self.strategy.metrics)),
        }

    def estimate(self) -> tuple[float, float] | None:
        """Configurations per second measured on a few of them (after compiling), and seconds for all.

        None where this machine cannot run the backend.
        """
        if not self.runs_here:
            return None
        workers = self.workers
        engine = self.task.engine(max(1, cores() // workers))
        sample = (
            self.space.random(min(SAMPLE, self.configurations), seed=0) if self.space.searched else self.space.grid()
        )
        engine.metrics(sample.iloc[:1])
        engine.metrics(sample)
        started = time.perf_counter()
        engine.metrics(sample)
        rate = len(sample) / (time.perf_counter() - started)
        together = workers if self.config.compute.address else min(workers, cores())
        return rate, self.configurations / rate / together


def make_plans(configs: Sequence[StudyConfig], runs: Path) -> list[Plan]:
    """The plans of the studies of one file; InputError with every mistake of all of them, each told once."""
    plans: list[Plan] = []
    problems: list[str] = []
    for config in configs:
        try:
            plans.append(make_plan(config, runs))
        except InputError as error:
            problems += (problem for problem in error.problems if problem not in problems)
    if problems:
        raise InputError(problems)
    return plans


def make_plan(config: StudyConfig, runs: Path) -> Plan:
    """Read and check everything a study needs; InputError with every mistake. Nothing is written."""
    problems: list[str] = []

    def attempt(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except InputError as error:
            problems.extend(p for p in error.problems if p not in problems)
        except TrackingError as error:
            problems.append(str(error))
        return None

    study = config.strategy
    code = attempt(lambda: read_code(Path(study.file or ""), "strategy.file")) if study.file else None
    market = attempt(lambda: market_of(config))
    strategy = (
        None
        if study.file and code is None
        else attempt(lambda: load_strategy(study.name, code, origin=study.file or ""))
    )
    costs = Costs(**config.costs.model_dump())
    wanted: Mapping[str, Any] = config.targets
    known = strategy.metrics if strategy else {name for each in STRATEGIES.values() for name in each.metrics}
    targets = attempt(lambda: Targets.of(wanted, metrics=known))
    choice = attempt(lambda: choice_of(config.compute))
    if config.tracking.enabled:
        attempt(lambda: check_tracking_uri(config.tracking.uri))
    folder = runs / config.name
    attempt(lambda: _check_writable(folder))
    if market is not None:
        attempt(lambda: market_planes(market, costs))
    space = baselines = trials = cut = kept = earlier = objectives = None
    pareto = config.search.objective == "pareto"
    if strategy is not None:
        attempt(lambda: check_book(config, strategy))
        space = attempt(lambda: Space.of(strategy, fixed=study.fixed, search=study.search))
    if space is not None:
        baselines = attempt(lambda: space.baselines(study.compare))
        if baselines is not None:
            attempt(lambda: check_rival(config.selection.baseline, baselines))
        batch = batch_size(config)
        trials = attempt(
            lambda: samplers.check(
                config.search.sampler,
                space,
                trials=config.search.trials,
                batch=batch,
                seed=config.search.seed,
                cloud=config.search.cloud,
                options=config.search.sampler_options,
                pareto=pareto,
            )
        )
        attempt(lambda: check_patience(config.search.patience, config.search.sampler))
        if pareto and config.search.warm_start is not None:
            problems.append(
                f"search.warm_start: an earlier study's trials are shown by their score, and objective: pareto has several "
                f"values, got {config.search.warm_start}; leave it out, or use objective: score"
            )
        elif targets is not None:
            earlier = attempt(lambda: earlier_study(config, runs, space, targets, code))
        if pareto and targets is not None:
            objectives = attempt(lambda: Objectives.of(config.search.objectives, targets, space))
        if market is not None:
            attempt(lambda: _check_length(market, space, baselines))
            attempt(lambda: space.strategy.check_market(market, _ends(space, baselines), costs))
            back, rule = _looks_back(space, baselines), space.strategy.name
            cut = attempt(lambda: hide(market, config.selection, looks_back=back, rule=rule))
            if cut is not None:
                attempt(lambda: applied(config.risk_limits.limits, space.strategy, cut[0]))
            if cut is not None and targets is not None:
                kept = attempt(lambda: periods(cut[0], config.selection, targets, looks_back=back, rule=rule))
    if problems:
        raise InputError(problems)
    assert cut is not None
    assert strategy is not None
    assert targets is not None
    assert space is not None
    assert baselines is not None
    assert choice is not None
    assert trials is not None
    batch = batch_size(config)
    return Plan(
        config,
        folder,
        *cut,
        kept,
        strategy,
        code,
        costs,
        space,
        targets,
        baselines,
        choice,
        trials,
        batch,
        earlier,
        objectives,
    )


def choice_of(compute: ComputeConfig) -> Choice:
    """The backend that computes: chosen by what the cluster at an address has, else by what works on this machine."""
    if compute.address is None:
        return choose(compute.backend, compute.precision)
    return look(compute.address).choose(compute.backend, compute.precision, workers=compute.workers)


def open_study(plan: Plan, *, resume: bool) -> Study:
    """The study of a plan, in its folder; InputError where it may not begin or go on there (`Study.open`)."""
    search = plan.config.search
    return Study.open(
        plan.folder,
        plan.config.name,
        plan.space,
        plan.targets,
        sampler=search.sampler,
        trials=search.trials,
        batch=plan.batch,
        seed=search.seed,
        cloud=search.cloud,
        patience=search.patience,
        earlier=plan.earlier,
        options=search.sampler_options,
        objectives=plan.objectives,
        resume=resume,
    )


def batch_size(config: StudyConfig) -> int:
    """Trials evaluated together: what the study says, else many where points do not depend on results."""
    if config.search.batch is not None:
        return config.search.batch
    return BATCH if config.search.sampler in samplers.POINTS else LEARNING_BATCH


def read_code(path: Path, where: str) -> str:
    """The text of a user's strategy file, which `where` names; InputError where there is none."""
    path = path.expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{where}: {missing_file(path)}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: {path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{where}: {path} cannot be read, {error.strerror}; a Python file is needed") from None


def _check_writable(folder: Path) -> None:
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(
            f"{folder}: the results cannot be written, {parent} is a file; name another folder with --runs"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{folder}: the results cannot be written, {parent} does not let you; name another folder with --runs"
        )


def _check_length(market: Market | OptionMarket, space: Space, baselines: pd.DataFrame | None) -> None:
    """A market must outlast the longest warm-up that the study asks for."""
    need = _looks_back(space, baselines)
    if market.n_bars <= need + 1:
        raise InputError(
            f"market: {space.strategy.name} places its first order after up to {need} bars with these parameters, and "
            f"the market has {market.n_bars}; take a longer history (start, end) or search shorter windows"
        )


def _looks_back(space: Space, baselines: pd.DataFrame | None) -> int:
    """The longest warm-up that the study asks for, in bars."""
    rows = [_largest(space), *([] if baselines is None else _rows(baselines))]
    return max(space.strategy.warm_up(row) for row in rows)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _ends(space: Space, baselines: pd.DataFrame | None) -> dict[str, list[float]]:
    """Of every parameter that is a number: the smallest and the largest that a trial has, and the baselines' own."""
    corners = space.from_unit(np.array([[0.0], [np.nextafter(1.0, 0.0)]]).repeat(len(space.searched), axis=1))
    table = pd.concat([corners, *([] if baselines is None else [baselines])])
    numbers = {p.name: table[p.name].dropna() for p in space.strategy.parameters if not p.choices}
    lists = {n: d.values for n, d in space.dimensions.items() if isinstance(d, Choices)}  # noqa: PD011 - a tuple
    return {
        n: [float(v) for v in (*column, *lists.get(n, ())) if isinstance(v, (int, float))]
        for n, column in numbers.items()
    }


def _largest(space: Space) -> dict[str, Any]:
    """Every parameter at the largest number a trial can give it."""
    largest: dict[str, Any] = dict(space.constants)
    for name, dimension in space.dimensions.items():
        if isinstance(dimension, Choices):
            values = dimension.values  # noqa: PD011 - a tuple
            numbers = [v for v in values if isinstance(v, (int, float))]
            largest[name] = max(numbers) if numbers else values[0]
        else:
            largest[name] = float(dimension.from_unit(np.array([np.nextafter(1.0, 0.0)]))[0])
    return largest
