"""What a pool may do, told a second time and plainly: it sees all that passes between a pool and its fleet.

A rule that is broken is an AssertionError at the moment it is broken.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.dispatch import Answer, Chunk, Done, Limits, Lost, Raised, Ready
from cluster.pool import Event


@dataclass
class _Seen:
    """A worker that the pool has started and neither lost nor given up."""

    since: float
    ready: bool = False
    chunks: deque[Chunk] = field(default_factory=deque)


@dataclass
class Work:
    """What a task has in the pool, as far as the pool has gone."""

    due: list[range]  # in no chunk yet
    most: int | None  # rows of a chunk of a stream; None: a batch, which ends as a whole
    under_way: int = 0  # rows that must be computed yet, whatever is withdrawn
    withdrawn: int = 0
    survey: bool = False  # what cannot be computed of it is left out, and nothing ends
    given_up: int = 0  # rows of a survey without hope that were in no chunk
    ended: list[Chunk] = field(default_factory=list)
    condemned: list[Chunk] = field(default_factory=list)

    @property
    def left(self) -> int:
        return sum(map(len, self.due))


class Referee:
    """Keeps its own account of who has what, who is to blame, and what must end in quarantine."""

    def __init__(self, workers: int, limits: Limits, look: float) -> None:
        self._workers, self._limits, self._look = workers, limits, look
        self._open: dict[int, _Seen] = {}
        self.works: dict[int, Work] = {}  # by task, the last
        self._computed: set[int] = set()  # tasks of which any chunk was
        self._in_a_row: Counter[int] = Counter()  # chunks of a task quarantined since
        self._waiting: set[Chunk] = set()  # sent once and lost
        self._suspects: set[Chunk] = set()
        self._alone: Counter[Chunk] = Counter()
        self._attempts: Counter[Chunk] = Counter()
        self._served = 0.0  # when a worker last stood ready, or a batch came
        self._some_ready = 0.0  # since when there has been a worker that stands ready
        self._ever_ready = False
        self._empty = 0  # places where workers do not start, left alone a while
        self._left_alone = 0.0  # when the last of them was
        self._unborn = 0  # workers that died while they started, one after another
        self._unfit = False
        self.configurations = 0  # that the pool has told to be done
        self.told_quarantined = 0
        self.sent_rows = 0  # each once
        self.longest = 0  # rows of a chunk

    # ---- what the pool is told and tells

    def submitted(
        self, task: int, rows: Sequence[range], now: float, most: int | None = None, survey: bool = False
    ) -> None:
        """A batch, or with `most` a stream, or a survey."""
        work = self.works[task] = Work(list(filter(len, rows)), most, survey=survey)
        work.under_way = 0 if most else work.left
        self._served = now

    def withdrawn(self) -> None:
        for work in self.works.values():
            if work.most:
                work.withdrawn += work.left
                work.due.clear()

    def advanced(self, configurations: int) -> None:
        self.configurations += configurations

    def happened(self, event: Event) -> None:
        self.told_quarantined += event.kind == "chunks_quarantined"

    @property
    def under_way(self) -> int:
        return sum(work.under_way for work in self.works.values())

    def hopeless(self, task: int) -> bool:
        """Whether a task must be given up: nothing of it was computed and nothing is left, or ten chunks in a row were not.

        A batch is not before its end, nor if anything of it was computed.
        """
        work = self.works[task]
        if work.survey:
            return False
        over = not work.left and not work.under_way
        if not work.condemned or (not work.most and not (over and len(work.condemned) == len(work.ended))):
            return False
        return self._in_a_row[task] >= 10 or (over and task not in self._computed)

    # ---- what passes between the pool and its fleet

    def started(self, worker: int, now: float) -> None:
        self._open[worker] = _Seen(now)
        self._empty = min(self._empty, self._workers - len(self._open))

    def sent(self, worker: int, chunk: Chunk, now: float) -> None:
        assert worker in self._open, "a chunk was sent to a worker that is gone"
        seen = self._open[worker]
        assert seen.ready, "a chunk was sent to a worker that does not stand ready"
        assert len(seen.chunks) < 2, "a worker was sent a third chunk"
        if seen.chunks:
            assert not self._suspects & {chunk, *seen.chunks}, "a suspect does not run alone"
            assert not self._waiting & self._suspects, (
                "a worker gets a second chunk while a suspect waits for a free one"
            )
        if chunk in self._waiting:
            self._waiting.remove(chunk)
        else:
            self._cut(self.works[chunk.task], chunk)
        self.longest = max(self.longest, chunk.end - chunk.first)
        if not seen.chunks:
            seen.since = now
        seen.chunks.append(chunk)

    def told(self, answer: Answer, now: float) -> None:
        if answer.worker not in self._open:
            return
        seen = self._open[answer.worker]
        match answer:
            case Ready():
                if not any(each.ready for each in self._open.values()):
                    self._some_ready = now
                seen.ready = self._ever_ready = True
                self._unborn = 0
            case Done(_, chunk):
                self._computed.add(chunk.task)
                self._in_a_row[chunk.task] = 0
                self._close(seen, chunk, now)
            case Raised(_, chunk):
                self._condemn(chunk)
                self._close(seen, chunk, now)
            case Lost():
                self._unborn += not seen.ready and not answer.blameless
                self._unfit |= answer.unfit and not self._ever_ready
                self._gone(answer.worker, now, blameless=answer.blameless)
        if seen.ready:
            self._served = now

    def ended(self, worker: int, now: float) -> None:
        if worker not in self._open:
            return
        seen = self._open[worker]
        if seen.chunks:
            assert now - seen.since > self._limits.chunk, "a worker was given up before its time"
            self._served = now
        else:
            assert not seen.ready, "a worker that has nothing to do was given up"
            assert now - seen.since > self._limits.start, "a worker that starts was given up before its time"
        self._gone(worker, now, blameless=False)

    def waits(self, now: float) -> None:
        """The pool has nothing left to do but wait."""
        assert len(self._open) + self._empty == self._workers, "a lost worker was not replaced"
        if self._empty:
            assert now - self._left_alone <= self._limits.start + self._look, "an empty place was not tried again"
        ready = [seen for seen in self._open.values() if seen.ready]
        for seen in self._open.values():
            if seen.chunks:
                assert now - seen.since <= self._limits.chunk + self._look, "a worker takes too long"
            elif not seen.ready and ready:
                late = now - max(seen.since + self._limits.start, self._some_ready)
                assert late <= self._look, "a worker takes too long to start"
        suspects = self._waiting & self._suspects
        others = len(self._waiting) - len(suspects) + sum(work.left for work in self.works.values())
        for seen in ready:
            if suspects or others:
                assert seen.chunks, "a worker has nothing to do while chunks wait"
            if others and not suspects:
                assert len(seen.chunks) == 2 or seen.chunks[0] in self._suspects, "a worker has room while chunks wait"
        if ready:
            self._served = now
        assert not any(map(self.hopeless, self.works)), "a task without hope goes on"
        limit = self._limits.stall if self._ever_ready else self._limits.start
        assert now - self._served <= limit + self._look, "a pool without workers goes on"

    def gave_up(self, why: str, now: float) -> None:
        """The pool has ended with an error: it must have had reason to."""
        ready = any(seen.ready for seen in self._open.values())
        if why.startswith("a worker could not start"):
            assert self._unfit or (self._unborn >= 3 * self._workers and not ready), "starting was given up too early"
        elif why.startswith("no chunk finished"):
            limit = self._limits.stall if self._ever_ready else self._limits.start
            assert not ready and now - self._served > limit, "the pool was given up too early"
        else:
            assert why.startswith("nothing could be computed"), f"an end that says nothing: {why}"
            assert any(map(self.hopeless, self.works)), "a task was given up that has hope"

    # ---- its account

    def _cut(self, work: Work, chunk: Chunk) -> None:
        assert work.due, "a chunk was sent twice, or of rows that there are not"
        first, end = work.due[0].start, work.due[0].stop
        assert chunk.first == first, "a chunk was sent twice, or rows were left out"
        assert first < chunk.end <= end, "a chunk of rows that there are not"
        self.sent_rows += 0 if work.survey else chunk.end - first
        work.due[:1] = [range(chunk.end, end)] if chunk.end < end else []
        if work.most:
            assert chunk.end - first <= work.most, "a chunk larger than a part may be"
            work.under_way += chunk.end - first

    def _condemn(self, chunk: Chunk) -> None:
        self.works[chunk.task].condemned.append(chunk)
        self._in_a_row[chunk.task] += 1
        work = self.works[chunk.task]
        if work.survey and self._in_a_row[chunk.task] >= 10:
            work.given_up += work.left
            work.due.clear()

    def _close(self, seen: _Seen, chunk: Chunk, now: float) -> None:
        seen.chunks.remove(chunk)
        seen.since = now
        self._settle(chunk)

    def _settle(self, chunk: Chunk) -> None:
        self._suspects.discard(chunk)
        self.works[chunk.task].ended.append(chunk)
        self.works[chunk.task].under_way -= chunk.end - chunk.first
        del self._alone[chunk], self._attempts[chunk]

    def _gone(self, worker: int, now: float, *, blameless: bool) -> None:
        seen = self._open.pop(worker)
        if seen.ready:
            self._served, self._unborn = now, 0
        elif self._unborn >= 3 * self._workers:
            self._empty += 1
            self._left_alone = now
        for chunk in seen.chunks:
            self._attempts[chunk] += 1
            if not blameless:
                self._alone[chunk] += chunk in self._suspects
            if not blameless or self._attempts[chunk] >= 10:
                self._suspects.add(chunk)
            if self._alone[chunk] >= 3 or self._attempts[chunk] >= 20:
                self._condemn(chunk)
                self._settle(chunk)
            else:
                self._waiting.add(chunk)
