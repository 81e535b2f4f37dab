"""Workers on a Ray cluster. Ray starts them and carries chunks; what is lost, `cluster.dispatch` runs again."""

from __future__ import annotations

import contextlib
import importlib
import re
import signal
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from cluster.dispatch import Answer, Chunk, Done, Lost, Raised, Ready
from cluster.pool import PoolError
from cluster.ray_session import last_line, reason, start_ray, stop_ray
from cluster.worker import Inquiry, Task, Worker
from search.points import Part

FETCH_SECONDS = 60.0  # for a result that Ray says is there to arrive
MESSAGE = 300  # characters of a message of Ray's


class RayFleet:
    """Ray actors, each owning one GPU or a share of the cores. They keep no state, and Ray never retries for them."""

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        workers: int,
        gpus: int,
        threads: int,
        address: str | None,
        worker: type[Worker] | None = None,
    ) -> None:
        ray: Any = importlib.import_module("ray")  # only now: a study in this process never needs it
        self.where = f"{workers} Ray worker{'s' * (workers > 1)}{f' at {address}' if address else ''}"
        self._ray = ray
        self._started_here = not ray.is_initialized()
        if self._started_here:
            with _sigterm_kept():
                start_ray(ray, address, workers, gpus, threads)
            _hush()
        self._tasks = [ray.put(task) for task in tasks]  # once on each node that has a worker
        self._threads = threads
        self._actor: Any = ray.remote(worker or Worker).options(
            num_gpus=gpus, num_cpus=threads, max_restarts=0, max_task_retries=0
        )
        self._share = f"{gpus} GPU and {threads} cores" if gpus else f"{threads} cores"
        self._count = 0
        self._actors: dict[int, Any] = {}
        self._nodes: dict[int, str] = {}  # where a worker stands, once it is ready
        self._load: Counter[int] = Counter()  # chunks that a worker has
        self._asked: dict[
            Any, tuple[int, Chunk | None]
        ] = {}  # what Ray will answer with: a start, a sign of life (no chunk), or a chunk

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""
        return time.monotonic()

    def start(self) -> int:
        """Begin an actor."""
        self._count += 1
        number, actor = self._count, self._actor.remote(self._threads, *self._tasks)
        self._actors[number] = actor
        self._asked[actor.__ray_call__.remote(_node)] = (number, None)
        return number

    def send(self, worker: int, chunk: Chunk, rows: pa.Table | Inquiry | None) -> None:
        """Hand a chunk to an actor; to one that has nothing, after a sign of life.

        Ray does not tell that an idle actor died: without the sign its next chunk would be blamed for it.
        """
        actor = self._actors[worker]
        if not self._load[worker]:
            self._asked[actor.__ray_call__.remote(_node)] = (worker, None)
        self._load[worker] += 1
        if isinstance(rows, Inquiry):
            answer = actor.survey.remote(*chunk, rows)
        else:
            answer = actor.part.remote(*chunk) if rows is None else actor.timed.remote(chunk.task, rows)
        self._asked[answer] = (worker, chunk)

    def end(self, worker: int) -> None:
        """Kill an actor, whatever it does."""
        self._asked = {answer: asked for answer, asked in self._asked.items() if asked[0] != worker}
        actor = self._actors.pop(worker, None)
        self._nodes.pop(worker, None)
        self._load.pop(worker, None)
        with contextlib.suppress(Exception):  # it is gone already
            self._ray.kill(actor)

    def wait(self, seconds: float) -> Sequence[Answer]:
        """Everything that Ray has answered, as soon as it has anything."""
        if not self._asked:
            time.sleep(seconds)
            return []
        ray, asked = self._ray, list(self._asked)
        try:
            answered, rest = ray.wait(asked, num_returns=1, timeout=seconds)
            if answered and rest:
                answered += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        except (ray.exceptions.RayError, RuntimeError) as error:
            raise PoolError(f"the Ray cluster is gone: {reason(error)}") from error
        heard = [self._heard(answer) for answer in answered]
        return [answer for answer in heard if answer]

    def state(self) -> str:
        """The cluster's nodes, what a worker needs, and what there is."""
        with contextlib.suppress(Exception):  # the cluster may be what is gone
            there = self._ray.cluster_resources()
            return (
                f"{len(self._alive())} nodes alive, each worker needs {self._share}, the cluster has "
                f"{there.get('GPU', 0):g} GPU and {there.get('CPU', 0):g} cores in all, perhaps in use (free some, "
                "or set compute.workers)"
            )
        return "the cluster does not answer"

    def use(self) -> Mapping[str, float]:
        """Nodes alive, and how many cores and GPUs of the cluster are taken."""
        with contextlib.suppress(Exception):  # the cluster may be on its way out
            there, free = self._ray.cluster_resources(), self._ray.available_resources()
            taken = {name: there.get(name, 0.0) - free.get(name, 0.0) for name in ("CPU", "GPU")}
            return {"ray_nodes": float(len(self._alive())), "ray_cpus": taken["CPU"], "ray_gpus": taken["GPU"]}
        return {}

    def close(self) -> None:
        """End the actors, and the cluster where it was started for them."""
        for worker in list(self._actors):
            self.end(worker)
        if self._started_here:
            stop_ray(self._ray)

    def _heard(self, answer: Any) -> Answer | None:
        worker, chunk = self._asked.pop(answer)
        self._load[worker] -= chunk is not None
        errors = self._ray.exceptions
        try:
            result = self._ray.get(answer, timeout=FETCH_SECONDS)
        except errors.RayTaskError as error:  # first: it is also an instance of what the chunk raised
            if chunk is None:
                return Lost(worker, last_line(error), unfit=True)
            return Raised(worker, chunk, f"raised {reason(error)}")
        except errors.RayError as error:  # the worker, its node or its result is gone
            unfit = bool(getattr(error, "actor_init_failed", False))
            died_idle = chunk is None and worker in self._nodes
            blameless = died_idle or self._blameless(worker, error)
            return Lost(worker, _told(error, unfit), blameless=blameless, unfit=unfit)
        if chunk is None:
            known = worker in self._nodes
            self._nodes[worker] = result
            return None if known else Ready(worker)
        return Done(worker, chunk, result, result.seconds) if isinstance(result, Part) else Done(worker, chunk, *result)

    def _blameless(self, worker: int, error: Exception) -> bool:
        """Whether a worker was lost with its node, or it was a call or a result that was lost."""
        errors = self._ray.exceptions
        if getattr(error, "preempted", False) or isinstance(
            error, (errors.NodeDiedError, errors.ActorUnavailableError, errors.ObjectLostError, errors.GetTimeoutError)
        ):
            return True
        return "node has died" in str(error) or (worker in self._nodes and self._nodes[worker] not in self._alive())

    def _alive(self) -> set[str]:
        return {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Leave SIGTERM to whoever listens to it already: Ray would take it to end this process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _hush() -> None:
    """Keep Ray's advice on every lost worker off the terminal: the pool says what became of them.

    Ray offers no public way: `log_to_driver=False` is for what workers print, and a thread of Ray's prints the advice.
    """
    with contextlib.suppress(ImportError):
        from ray._private import worker

        worker.print_to_stdstream = lambda *_, **__: None


def _node(_: Worker) -> str:
    """The node that a worker stands on; run there."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _told(error: Exception, unfit: bool) -> str:
    """How a worker was lost, without Ray's advice."""
    if not unfit:
        text = str(error)
        if "node has died" in text:
            return "its node died"
        if "worker process has died" in text:
            found = re.search(r"exit detail: (.*?)\. (?:Some common|There are)", text, re.DOTALL)
            return f"its process died ({found[1]})" if found else "its process died"
        if type(error).__name__ == "ActorUnavailableError":
            return "a call to it failed"
        if type(error).__name__ == "OutOfMemoryError":
            return "its process was ended, its node was short of memory"
    return textwrap.shorten(last_line(error), MESSAGE, placeholder=" ...")
