"""What a study is, for ever: the digests of all that decides its results, kept in its folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from cluster.config import StudyConfig, load_study, resolved_yaml, study_digest
from cluster.plan import Plan
from kernels.errors import InputError
from search.study import Study
from search.whole import replace_text


@dataclass(frozen=True)
class Identity:
    """What a study is, for ever: `runs/<study>/identity.json`."""

    study_id: str
    study_digest: str
    data_digest: str
    code_digest: str | None  # of a user's own strategy file
    version: str
    backend: str  # that computed it last


def identify(plan: Plan, study: Study) -> Identity:
    """The identity kept in the study's folder, made for a new study.

    InputError where a resumed study would go on with other data or rules; what it searches for, and how, is compared by
    `Study.open`.
    """
    path, resolved = plan.folder / "identity.json", plan.folder / "study.yaml"
    if study.done:
        now = replace(_today(plan), study_id=kept_identity(plan).study_id)
    else:
        now = _today(plan)
        with contextlib.suppress(OSError, ValueError, TypeError):  # there is none to read
            begun = Identity(**json.loads(path.read_text()))
            if begun == replace(now, study_id=begun.study_id):
                now = begun  # stopped before its first results: its run in MLflow goes on
    replace_text(path, json.dumps(asdict(now), indent=1) + "\n")
    replace_text(resolved, resolved_yaml(plan.config))
    return now


def kept_identity(plan: Plan) -> Identity:
    """The identity kept in the study's folder; InputError where that is of other data or rules than the plan's."""
    kept = read_identity(plan.folder)
    changed = [*_changes(kept, _today(plan)), *_other_rules(load_study(plan.folder / "study.yaml"), plan.config)]
    if changed:
        raise InputError(f"{plan.folder}: {change}; set it back, or use another name" for change in changed)
    return kept


def read_identity(folder: Path) -> Identity:
    """The identity kept in a study's folder, whatever the data is now; InputError where there is none."""
    path = folder / "identity.json"
    try:
        return Identity(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: what this study ran on cannot be read ({error}); remove {folder} or use another name"
        ) from error


def _today(plan: Plan) -> Identity:
    """The identity of a new study."""
    return Identity(
        study_id=f"{plan.config.name}-{uuid.uuid4().hex[:8]}",
        study_digest=study_digest(plan.config),
        data_digest=plan.data_digest,
        code_digest=None if plan.code is None else hashlib.sha256(plan.code.encode()).hexdigest(),
        version=version("hedgegrid"),
        backend=plan.choice.backend.name,
    )


def _changes(kept: Identity, now: Identity) -> Iterator[str]:
    """What of a study's inputs is not what it was."""
    if kept.data_digest != now.data_digest:
        yield (
            f"the market data changed since this study began (digest {kept.data_digest[:12]} then, "
            f"{now.data_digest[:12]} now)"
        )
    if kept.code_digest != now.code_digest:
        yield "the strategy file changed since this study began"


def _other_rules(kept: StudyConfig, now: StudyConfig) -> Iterator[str]:
    """What of the settings that decide a backtest is not what it was."""
    then = {f"costs.{key}": value for key, value in kept.costs.model_dump().items()}
    then["compute.precision"] = kept.compute.precision
    today = {f"costs.{key}": value for key, value in now.costs.model_dump().items()}
    today["compute.precision"] = now.compute.precision
    for settings, config in ((then, kept), (today, now)):
        settings.update({f"selection.{key}": value for key, value in config.selection.model_dump().items()})
        del settings["selection.replicates"]
        if kept.risk_limits.enabled or now.risk_limits.enabled:
            settings.update({f"risk_limits.{key}": value for key, value in config.risk_limits.model_dump().items()})
        settings["strategy.compare"] = config.strategy.compare
        settings["book"] = None if config.book is None else config.book.model_dump(exclude_defaults=True)
    yield from (
        f"{key} was {then[key]} when this study began, is {today[key]} now" for key in then if then[key] != today[key]
    )
