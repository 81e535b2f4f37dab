"""A sampler of a user's own: any class of `optuna.samplers.BaseSampler`, by `package.module:ClassName` or `file.py:ClassName`.

A fresh one is made for each trial, with a seed of that trial where its constructor takes one. So it must learn from the
trials of the study it is handed, not from what it remembers, and what it does before or after a trial is not called.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection

from kernels.errors import InputError
from search.hint import hint
from search.learner import Learner, SeededByTrial
from search.quiet import quiet
from search.sampler_names import SEPARATOR
from search.seeds import seed_of
from search.space import Space
from search.suggestion import suggest

REHEARSED = 32  # made-up trials told before a sampler is tried: enough for those that first wait for some
WHERE = "search.sampler"
OPTIONS = "search.sampler_options"


def learner(named: str, options: Mapping[str, Any]) -> Learner:
    """The learner of a class; InputError where there is none, or it does not take the options."""
    found = _class(named)
    seeded = "seed" in inspect.signature(found).parameters
    if wrong := _unknown_options(named, found, options):
        raise InputError(wrong)

    def make(seed: int, batch: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is experimental, say, would be told anew for each trial
            return found(**options, **({"seed": seed} if seeded else {}))

    try:
        make(0, 1)
    except Exception as error:  # whatever a user's class may raise
        given = ", ".join(f"{key}: {value}" for key, value in options.items()) or "none"
        raise InputError(f"{OPTIONS}: {named} does not take them ({_said(error)}), got {given}") from error
    return Learner(make, own=True)


def spec(named: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What besides its name makes the proposals of a class, in plain values (JSON)."""
    file = named.rpartition(SEPARATOR)[0]
    code = {"sampler_code": hashlib.sha256(_text(file).encode()).hexdigest()} if file.endswith(".py") else {}
    return {**code, **({"sampler_options": dict(options)} if options else {})}


def problems(named: str, options: Mapping[str, Any], space: Space, *, batch: int, pareto: bool) -> list[str]:
    """Why a class cannot be the sampler of a study in this space: it is tried on made-up trials, twice from the same seed."""
    try:
        own = learner(named, options)
    except InputError as error:
        return list(error.problems)
    if not space.searched:
        return []  # refused elsewhere
    try:
        first, again = (_rehearsed(own, space, batch=batch, pareto=pareto) for _ in range(2))
    except Exception as error:  # whatever a user's class may raise
        several = " for several objectives" if pareto else ""
        return [f"{WHERE}: {named} cannot propose a configuration of this space{several}: {_said(error)}"]
    if first != again:
        return [
            f"{WHERE}: {named} proposes {first} and then {again} from the same seed and trials; let its constructor take "
            "`seed` and draw everything from it"
        ]
    return []


def _rehearsed(own: Learner, space: Space, *, batch: int, pareto: bool) -> dict[str, Any]:
    """What a sampler proposes after made-up trials."""
    distributions = space.distributions()
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][: 1 + pareto]
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(directions=directions, sampler=RandomSampler(seed=0))
        for number in range(REHEARSED):
            trial = study.ask()
            for name, distribution in distributions.items():
                suggest(trial, name, distribution)
            trial.set_constraint("target", number % 3 - 1.0)
            study.tell(trial, [seed_of(0, number, k) / 2**32 for k in range(len(directions))])
        study.sampler = SeededByTrial(own, distributions, seed=0, batch=batch)
        trial = study.ask()
        return {name: suggest(trial, name, distribution) for name, distribution in distributions.items()}


def _class(named: str) -> type[BaseSampler]:
    """The class of that name; InputError where there is none, or it is no sampler."""
    place, _, name = named.rpartition(SEPARATOR)
    module = _file(place) if place.endswith(".py") else _module(place)
    found = getattr(module, name, None)
    classes = [key for key, value in vars(module).items() if _is_sampler(value)]
    if found is None:
        there = hint(name, classes, "its samplers") if classes else "it has no sampler"
        raise InputError(f"{WHERE}: {place} has no {name!r}; {there}")
    if not _is_sampler(found):
        raise InputError(f"{WHERE}: {named} is no class of optuna.samplers.BaseSampler; derive it from that class")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise InputError(f"{WHERE}: {named} leaves out {missing}; write them")
    return found  # type: ignore[no-any-return]


def _is_sampler(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseSampler) and value is not BaseSampler


def _module(place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except (ImportError, ValueError, TypeError) as error:  # an empty or a relative name is no ImportError
        raise InputError(
            f"{WHERE}: module {place!r} cannot be imported ({_said(error)}); install it, or write file.py:ClassName"
        ) from error
    except (Exception, SystemExit) as error:  # whatever a user's module may do
        raise InputError(f"{WHERE}: module {place!r} fails when it is imported ({_said(error)})") from error


def _file(place: str) -> ModuleType:
    """A file, relative to the working directory, run as a module named by its content, once per process."""
    code = _text(place)
    name = f"hedgegrid_sampler_{hashlib.sha256(code.encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = place
        sys.modules[name] = module  # its own classes look their module up while it runs
        try:
            exec(compile(code, place, "exec", dont_inherit=True), module.__dict__)
        except (Exception, SystemExit) as error:  # whatever a user's file may do
            del sys.modules[name]
            raise InputError(f"{WHERE}: {place} does not run ({_said(error)})") from error
    return sys.modules[name]


def _text(place: str) -> str:
    try:
        return Path(place).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{WHERE}: {place} cannot be read ({_said(error)}); name a Python file") from error


def _unknown_options(named: str, found: type[BaseSampler], options: Mapping[str, Any]) -> list[str]:
    """Options that the constructor has no keyword for, and `seed`, which is the study's."""
    parameters = inspect.signature(found).parameters
    keywords = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes = [name for name in keywords if name != "seed"]
    wrong = (
        ["search.sampler_options.seed: every trial has a seed of its own; set search.seed"] if "seed" in options else []
    )
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return wrong
    return wrong + [
        f"{OPTIONS}.{key}: {named} has no such option; "
        + (hint(key, takes, "options") if takes else "it takes none; leave it out")
        for key in options
        if key not in keywords
    ]


def _said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
