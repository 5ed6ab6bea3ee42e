"""The executor: all backends of a run at the same time, every completion appended as it arrives; the latency probe."""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.backend import Backend
from harness.confidence import task_confidence
from harness.data.contamination import Findings, write_findings
from harness.errors import BackendStopped, BenchError, IncompleteRunError
from harness.execution.event_loop import on_interrupt
from harness.execution.run_plan import RunPlan
from harness.records import BackendIdentity, Completion, LogLine, Request, Row
from harness.runs.backend_log import SegmentWriter
from harness.runs.log_lines import LogWriter
from harness.runs.run_log import RunLog, Session
from harness.task import Task, score_of
from harness.text_format import utc_text

if TYPE_CHECKING:
    from harness.gating.early_stopping import EarlyStop

SAME_ERRORS = 3
"""A backend is asked no more after so many errors of one kind; after the first where it has not answered yet."""


@dataclass
class ProbeState:
    """One backend's part. ask: asks the row at a position and returns the line written, None where none was.

    todo: positions without an answer yet. requests, answers: of this session; cost: USD they incurred, None where one
    is unknown.
    """

    ask: Callable[[int], Awaitable[LogLine | None]]
    todo: list[int]
    requests: int = 0
    answers: int = 0
    cost: float | None = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    ended: str | None = None

    async def ask_row(self, n: int) -> None:
        """Ask one row; `ended` says why where this backend is to be asked no more."""
        try:
            line = await self.ask(n)
        except BackendStopped as stop:  # the run itself meets the same stop, and reports it
            self.ended = str(stop)
            return
        if line is None:
            return
        self.requests += 1
        if self.cost is not None and line.error is None:
            self.cost = None if line.cost.incurred is None else self.cost + line.cost.incurred
        elif line.cost.incurred is not None and self.cost is not None:
            self.cost += line.cost.incurred
        if line.error is None:
            self.answers += 1
            return
        self.errors[line.error.kind] += 1
        if not self.answers or self.errors[line.error.kind] >= SAME_ERRORS:
            self.ended = f"{line.error.kind}: {line.error.message}"


async def probe_round_robin(
    backends: Mapping[str, ProbeState], seed: int, stopped: Callable[[], bool], progress: Callable[[int, int], None]
) -> None:
    """Ask every backend its rows, one request at a time; the first row of each is asked once more before, to warm up.

    progress: told (rows done, rows in all) after every row.
    """
    rows = sorted({n for probed in backends.values() for n in probed.todo})
    if not rows:
        return
    progress(0, len(rows))
    for done, n in enumerate([rows[0], *rows]):
        turn = [name for name, probed in backends.items() if n in probed.todo or (done == 0 and probed.todo)]
        random.Random(f"{seed} {done}").shuffle(turn)
        for name in turn:
            probed = backends[name]
            if stopped():
                return
            if probed.ended is None:
                await probed.ask_row(probed.todo[0] if done == 0 else n)
        if all(probed.ended is not None for probed in backends.values() if probed.todo):
            return
        progress(done, len(rows))


def probe_messages(backends: Mapping[str, ProbeState]) -> list[str]:
    """What the probe took, and whom it could not measure, in sentences."""
    requests = sum(probed.requests for probed in backends.values())
    if not requests and all(probed.ended is None for probed in backends.values()):
        return []
    costs = [probed.cost for probed in backends.values()]
    money = "at an unknown cost" if None in costs else f"${sum(c for c in costs if c is not None):.6f}"
    messages = [f"latency probe: {requests} requests to {', '.join(backends)}, one at a time, {money}"]
    for name, probed in backends.items():
        if probed.ended is not None:
            left = "its latency is not measured" if not probed.answers else "the answers so far are used"
            count = f"{probed.requests} request{'' if probed.requests == 1 else 's'}"
            messages.append(f"{name}: the latency probe ended after {count} ({probed.ended}); {left}")
    return messages


GRACE_S = 10.0
"""How long the first Ctrl-C waits for what is in flight."""


@dataclass
class Observer:
    """What a front end may want to hear.

    started: once, backend -> (answered already, asked for in all); line: after every append;
    remark: a sentence for people; status: one on what takes a while (a quiet front end leaves it out);
    batch_progress: (backend, done, total) of a batch at a provider; probing: (done, total) rows of the latency probe.
    """

    started: Callable[[dict[str, tuple[int, int]]], None] = lambda totals: None
    line: Callable[[str, LogLine], None] = lambda backend, line: None
    remark: Callable[[str], None] = lambda text: None
    status: Callable[[str], None] = lambda text: None
    batch_progress: Callable[[str, int, int], None] = lambda backend, done, total: None
    probing: Callable[[int, int], None] = lambda done, total: None


@dataclass
class _BackendSession:
    """One backend's work on one run."""

    name: str
    backend: Backend
    log: RunLog
    task: Task
    rows: Sequence[Row]
    observer: Observer
    stopping: asyncio.Event
    early: "EarlyStop | None" = None
    in_flight: dict[tuple[str, int], Row] = field(default_factory=dict)

    async def feed(self, keys: Iterable[tuple[int, int]]) -> AsyncIterator[Request]:
        """Requests, one by one as the backend takes them; ends early when the run is stopping or knows enough."""
        left = iter(keys)
        while not self.finished() and (key := next(left, None)) is not None:
            n, repeat = key
            row = self.rows[n]
            request = msgspec.structs.replace(row.request, repeat=repeat)
            self.in_flight[(request.id, repeat)] = row
            yield request

    def finished(self) -> bool:
        """Whether nothing more is to be asked now."""
        return self.stopping.is_set() or self.decided()

    def decided(self) -> bool:
        """Whether `--early-stop` has its answer."""
        return self.early is not None and self.early.decided(self.name)

    async def answers(self, keys: Iterable[tuple[int, int]]) -> AsyncIterator[tuple[Row, Completion]]:
        """Completions with the rows they answer. Raises BackendStopped."""
        stream = self.backend.stream(self.feed(keys), self.log.state_dir(self.name))
        async with contextlib.aclosing(stream) as completions:  # type: ignore[type-var]
            async for completion in completions:
                row = self.in_flight.pop((completion.id, completion.repeat), None)
                if row is None:
                    raise RuntimeError(f"'{self.name}' answered request {completion.id}, which is not in flight")
                yield row, completion

    def append(self, writer: LogWriter | SegmentWriter, row: Row, completion: Completion) -> LogLine:
        """Score and write one line. Raises IncompleteRunError where the disk refuses it."""
        score = None
        if completion.error is None:
            score = score_of(self.task, row.sample, self.task.score(row.sample, completion))
            own = task_confidence(self.task, completion)
            score = score if own is None else msgspec.structs.replace(score, confidence=own)
        try:
            return writer.append(row.n, completion, score)
        except OSError as error:
            raise IncompleteRunError(
                f"{self.log.path} cannot be written ({error.strerror or error}): free the space, then "
                f"continue with `bench run --resume {self.log.path}`."
            ) from error

    async def run(self) -> None:
        """Ask all that has no answer yet, and note how it ended. A stop of this backend ends only its session."""
        started = utc_text()
        clock = time.perf_counter()
        asked = 0
        stopped: dict[str, str] | None = None
        try:
            todo = unanswered(self.log, self.name, None if self.early is None else self.early.turns)
            with self.log.writer(self.name) as writer:
                while not self.finished() and (following := next(todo, None)) is not None:
                    # Again where errors among the last answers in flight undid a decision to stop.
                    async for row, completion in self.answers(itertools.chain([following], todo)):
                        line = self.append(writer, row, completion)
                        asked += not completion.cached
                        self.observer.line(self.name, line)
                        if self.early is not None:
                            self.early.observe(self.name, line)
            if self.early is not None and self.decided() and any(unanswered(self.log, self.name)):
                stopped = self.early.reason(self.name)
                self.observer.remark(f"{self.name}: {stopped['message']}")
        except BackendStopped as stop:
            stopped = {"kind": stop.kind, "message": str(stop)}
            self.observer.remark(f"{self.name} stopped: {stop}")
        finally:
            session = Session(
                started=started,
                wall_s=time.perf_counter() - clock,
                rows=asked,
                counters=self.backend.counters(),
                stopped=stopped,
            )
            with contextlib.suppress(OSError):  # a full disk was reported already
                self.log.note_session(self.name, session)

    async def ask_once(self, writer: LogWriter, n: int) -> LogLine | None:
        """Ask one row and append its line; None where the run is stopping. Raises BackendStopped."""
        written = None
        async for row, completion in self.answers([(n, 0)]):
            written = self.append(writer, row, completion)
        return written


async def _probe_latencies(sessions: dict[str, _BackendSession], log: RunLog, observer: Observer) -> None:
    """Ask the first rows of each backend one at a time, in turns, into `<backend>.probe.jsonl`."""
    rows = log.manifest.probe_rows
    with contextlib.ExitStack() as writers:
        probed = {}
        for name, session_for in sessions.items():
            done = log.backend_log(name, probe=True).answered()
            writer = writers.enter_context(log.writer(name, probe=True))
            assert isinstance(writer, LogWriter)
            probed[name] = ProbeState(partial(session_for.ask_once, writer), [n for n in range(rows) if not done[n, 0]])
        stopping = next(iter(sessions.values())).stopping
        await probe_round_robin(probed, log.manifest.seed, stopping.is_set, observer.probing)
    for sentence in probe_messages(probed):
        observer.status(sentence)


def unanswered(log: RunLog, backend: str, turns: NDArray[np.int64] | None = None) -> Iterator[tuple[int, int]]:
    """Every (n, repeat) that has no answer yet, in position order, or row by row in the order of `turns`."""
    todo = ~log.backend_log(backend).answered()
    order = np.arange(len(todo)) if turns is None else turns
    places, repeats = todo[order].nonzero()
    return ((int(order[place]), int(repeat)) for place, repeat in zip(places, repeats, strict=True))


async def run_backends(
    plan: RunPlan,
    backends: dict[str, Backend],
    probers: dict[str, Backend],
    observer: Observer,
    inspect: Callable[[dict[str, BackendIdentity]], Findings],
    early: "EarlyStop | None" = None,
) -> RunLog:
    """Check every backend, open the run directory, probe latencies (alone), then ask all rows of all at once.

    backends, probers: by name; probers are constructed with `probing`. inspect: what is to be known of the rows
    once the candidates are known (rows they were trained on). early: says when a backend need not be asked any
    further. Raises UsageError before anything is
    sent or written, KeyboardInterrupt after a Ctrl-C (all that was answered is on disk), IncompleteRunError
    for a full disk.
    """
    all_backends = [*backends.values(), *probers.values()]
    stopping = asyncio.Event()
    try:
        with _interruptible(stopping, observer):
            needs = plan.requirements
            for backend in all_backends:
                await backend.check(needs)
            identities = {name: backend.identity() for name, backend in backends.items()}
            findings = await asyncio.to_thread(inspect, identities)
            if stopping.is_set():
                raise KeyboardInterrupt  # before anything is written
            log = plan.open(identities)
            write_findings(log.path, findings)

            def session_for(name: str, backend: Backend) -> _BackendSession:
                return _BackendSession(name, backend, log, plan.task, plan.rows, observer, stopping, early)

            if probers:
                await _probe_latencies(
                    {name: session_for(name, prober) for name, prober in probers.items()}, log, observer
                )
            if early is not None:
                _observe_earlier_answers(log, early, list(backends))
            total = len(plan.rows) * log.manifest.repeats
            observer.started({name: (int(log.backend_log(name).answered().sum()), total) for name in backends})
            await _run_concurrently([session_for(name, backend).run() for name, backend in backends.items()])
    finally:
        for backend in all_backends:
            await backend.aclose()
    if stopping.is_set():
        raise KeyboardInterrupt
    return log


def _observe_earlier_answers(log: RunLog, early: "EarlyStop", names: list[str]) -> None:
    """What earlier sessions have answered counts; what ended in an error is sent again."""
    for name in names:
        for line in log.backend_log(name).each_last():
            if line.error is None:
                early.observe(name, line)


async def _run_concurrently(sessions: list[Any]) -> None:
    """All at once; one that fails unexpectedly does not cut off the others."""
    work = [asyncio.ensure_future(session) for session in sessions]
    try:
        results = await asyncio.gather(*work, return_exceptions=True)
    except asyncio.CancelledError:
        for future in work:
            future.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        raise
    failures = [r for r in results if isinstance(r, BaseException)]
    for failure in sorted(failures, key=lambda f: isinstance(f, BenchError)):
        raise failure  # an internal error before an error of the user


@contextlib.contextmanager
def _interruptible(stopping: asyncio.Event, observer: Observer) -> Iterator[None]:
    """First Ctrl-C: stop feeding, wait up to GRACE_S. Second: drop what is in flight."""
    loop = asyncio.get_running_loop()
    current = asyncio.current_task()
    assert current is not None
    timer: asyncio.TimerHandle | None = None

    def interrupt() -> None:
        nonlocal timer
        if stopping.is_set():
            current.cancel()
            return
        stopping.set()
        observer.remark("stopping: waiting for the answers in flight (Ctrl-C again drops them)")
        timer = loop.call_later(GRACE_S, current.cancel)

    try:
        with on_interrupt(interrupt):
            yield
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    finally:
        if timer is not None:
            timer.cancel()
