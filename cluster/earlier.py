"""The finished study that a warm start names: where it lies, whether it is of the same rule, and what it found."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from cluster.config import StudyConfig
from kernels.errors import InputError
from search.manifest import Manifest
from search.space import Space
from search.targets import Targets
from search.warm_start import Earlier, check_learns, chosen, kept_spec

FINISHED = "note.md"  # the last file that a study writes
NEEDED = ("configs.parquet", "identity.json", "search.json", FINISHED)


def earlier_study(config: StudyConfig, runs: Path, space: Space, targets: Targets, code: str | None) -> Earlier | None:
    """The study that `search.warm_start` names, None where it names none; `code` is the text of a user's own strategy.

    InputError where there is none of that name, it has not finished, it is of another strategy, or nothing of it can be
    used; but not where this study has begun and keeps what it was shown.
    """
    name = config.search.warm_start
    if name is None:
        return None
    check_learns(name, config.search.sampler)
    try:
        digest, configurations = _read(_folder(config, runs, name), space, targets, code)
        return Earlier(name, chosen(name, digest, configurations, space, targets, config.search.cloud))
    except InputError:
        if kept_spec(runs / config.name).get("study") == name:
            return Earlier(name, None)
        raise


def _folder(config: StudyConfig, runs: Path, name: str) -> Path:
    """The folder itself, that name under the runs folder, or with the ticker of a study per ticker behind it."""
    tickers: list[str] = getattr(config.market, "tickers", None) or []
    names = [name, *([f"{name}-{tickers[0]}"] if len(tickers) == 1 else [])]
    places = [folder for each in names for folder in (Path(each).expanduser(), runs / each)]
    own = (runs / config.name).resolve()
    for folder in places:
        if (folder / "search.json").is_file():
            if folder.resolve() == own:
                raise InputError(
                    f"search.warm_start: {folder} is this study itself; name an earlier one, or go on with it by --resume"
                )
            return folder
    tried = ", ".join(str(folder) for folder in places)
    raise InputError(
        f"search.warm_start: {name} is no study (no search.json in {tried}); name the folder of a finished study"
    )


def _read(folder: Path, space: Space, targets: Targets, code: str | None) -> tuple[str, pd.DataFrame]:
    """The digest of its data, and of every configuration what `chosen` reads of it."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"search.warm_start: {folder} has not finished ({', '.join(missing)} missing); finish it with --resume first"
        )
    try:
        identity: dict[str, Any] = json.loads((folder / "identity.json").read_text())
        strategy = json.loads((folder / "search.json").read_text())["space"]["strategy"]
        digest, code_digest = identity["data_digest"], identity["code_digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"search.warm_start: {folder} cannot be read ({error!r}); name another study") from error
    if strategy != space.strategy.name:
        raise InputError(
            f"search.warm_start: {folder} is of strategy {strategy}, this study of {space.strategy.name}; their parameters "
            "do not mean the same, name a study of the same strategy"
        )
    if code_digest != (None if code is None else hashlib.sha256(code.encode()).hexdigest()):
        raise InputError(
            f"search.warm_start: the file of strategy {strategy} is not the one that {folder} ran; run that again, or leave "
            "warm_start out"
        )
    return digest, _configurations(folder, space, targets)


def _configurations(folder: Path, space: Space, targets: Targets) -> pd.DataFrame:
    """Of every configuration trial and member, parameters, the metrics that have a target, status."""
    name = "configs.parquet"
    Manifest(folder).check([name])
    there = pq.read_schema(folder / name).names
    needed = [p.name for p in space.strategy.parameters] + [space.measured(m) for m in targets.metrics] + ["status"]
    unknown = [column for column in needed if column not in there]
    if unknown:
        raise InputError(
            f"search.warm_start: {folder / name} has no {', '.join(unknown)}; name a study that measured it, or choose other "
            "targets"
        )
    columns = ["trial", *(["member"] if "member" in there else []), *needed]
    return pd.read_parquet(folder / name, columns=columns)
