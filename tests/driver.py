"""A driver that can be killed: a warm process forks one per request, each runs a small study in a folder of its own.

Importing takes seconds and a small study a fraction of one. Requests and answers are lines of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crashes import of
from sqlalchemy import event
from sqlalchemy.engine import Engine
from studies import run_one, small_plan

from cluster import output
from kernels.errors import InputError
from tracking.address import TrackingError
from tracking.recorder import Recorder
from tracking.records import StudyRecord

CLIENT_CALLS = ("create_run", "log_batch", "set_terminated", "update_run", "set_tag", "delete_run", "log_inputs")
CLIENT_CALLS += ("create_experiment", "set_experiment_tag", "log_text", "log_artifact")
SYSTEM_CALLS = ("fsync", "replace", "rename", "symlink", "unlink")
TORN = 7  # bytes of a write that do not reach the disk


class Steps:
    """Counts the steps of a run that a kill may fall between, and kills this process at the one asked for.

    `torn`: what was written and not yet forced to the disk loses its end then, as in a power cut.
    """

    def __init__(self, kill_at: int | None, *, torn: bool) -> None:
        self.count = 0
        self._kill_at = kill_at
        self._torn = torn

    def step(self, file: int | None = None) -> None:
        self.count += 1
        if self.count == self._kill_at:
            if self._torn and file is not None and os.fstat(file).st_size > TORN:
                os.ftruncate(file, os.fstat(file).st_size - TORN)
            os.kill(os.getpid(), signal.SIGKILL)

    def plant(self) -> None:
        """Before and after every call that changes the disk, and before every commit of a database."""
        from mlflow import MlflowClient

        for name in SYSTEM_CALLS:
            setattr(os, name, self._around(getattr(os, name), of_file=name == "fsync"))
        for name in CLIENT_CALLS:
            setattr(MlflowClient, name, self._around(getattr(MlflowClient, name)))
        event.listen(Engine, "commit", lambda connection: self.step())

    def _around(self, call: Callable[..., Any], *, of_file: bool = False) -> Callable[..., Any]:
        def stepped(*given: Any, **named: Any) -> Any:
            self.step(given[0] if of_file and os.path.isfile(f"/proc/self/fd/{given[0]}") else None)  # noqa: PTH113
            answer = call(*given, **named)
            self.step()
            return answer

        return stepped


def drive(folder: Path, overrides: list[str], *, resume: bool, kill_at: int | None, torn: bool) -> dict[str, Any]:
    """Run the small study of `folder`; how it ended, and its steps."""
    steps = Steps(kill_at, torn=torn)
    try:
        plan = small_plan(folder, *overrides)
        steps.plant()
        run_one(plan, resume=resume)
    except (InputError, TrackingError, OSError) as error:
        return {"refused": f"{type(error).__name__}: {error}", "steps": steps.count}
    return {"steps": steps.count}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Fork a driver, kill it after `after` seconds where these are given, and say how it ended."""
    with tempfile.TemporaryFile("w+") as told:
        child = os.fork()
        if child == 0:
            _be_driver(request, told.fileno())
        if request.get("after") is not None:
            time.sleep(request["after"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        told.seek(0)
        text = told.read()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return {"killed": True} if killed else {"killed": False, **json.loads(text or "{}")}


def _be_driver(request: dict[str, Any], told: int) -> None:
    try:
        for key, value in request.get("environment", {}).items():
            os.environ[key] = value
        ended = drive(
            Path(request["folder"]),
            request["overrides"],
            resume=request["resume"],
            kill_at=request.get("kill_at"),
            torn=request.get("torn", False),
        )
    except BaseException:
        ended = {"failed": traceback.format_exc()}
    os.write(told, json.dumps(ended).encode())
    os._exit(0)


def main() -> None:
    """Answer requests until there are no more."""
    output.draw = lambda *_: iter(())  # pictures take seconds
    store = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:  # a study of each kind, so that a fork has everything imported
        for name, sampler in (("warm", "grid"), ("warmer", "cmaes")):
            run_one(small_plan(Path(folder), *of(sampler), f"name={name}", f"tracking.uri=sqlite:///{folder}/warm.db"))
    Recorder.open(f"sqlite:///{store}", "hedgegrid/tsmom_hedge", StudyRecord("another", "warm")).close()
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    assert not others, f"a fork would lose the threads {others}"
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
