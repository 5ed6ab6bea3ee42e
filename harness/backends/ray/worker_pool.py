"""A pool of Ray workers: a bounded queue of row windows; the rows of a lost worker are sent again."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.backends.local.model_spec import windows
from harness.backends.ray.ray_cluster import import_ray, reply
from harness.backends.ray.ray_worker import CHUNKS, AnswerChunk
from harness.errors import BackendStopped, UsageError
from harness.records import Completion, Failure, Request

MAX_LOSSES_OF_WINDOW = 3
"""Workers that may be lost while answering a window, before its rows end as errors: they may be the cause."""
LOST = "worker lost"


@dataclass
class RowWindow:
    """Rows that are asked together. `left`: those without an answer yet, by (id, repeat)."""

    job: bytes
    unanswered: dict[tuple[str, int], Request]
    stream: "StreamHandle"
    losses: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """Place in the line: what was begun before comes first."""
        return (0 if self.losses else 1, self.number)

    number: int = field(default_factory=itertools.count().__next__)

    def deliver(self, answers: list[Completion]) -> None:
        """Hand answers on, each row's once: what an earlier worker has answered already is dropped."""
        fresh = [a for a in answers if self.unanswered.pop((a.id, a.repeat), None) is not None]
        if fresh:
            self.stream.results.put_nowait(fresh)

    def rows(self) -> bytes:
        """What is left, for the wire."""
        return msgspec.msgpack.encode(list(self.unanswered.values()))

    def fail(self, reason: str) -> None:
        """End what is left as infrastructure errors: `--resume` asks it again."""
        failure = Failure(kind=LOST, message=f"{self.losses} workers were lost while answering these rows: {reason}")
        self.deliver([Completion(id=row, repeat=repeat, error=failure) for row, repeat in list(self.unanswered)])


class WindowQueue:
    """First come, first served, but for windows that come back. Bounded: `room` windows are open at a time."""

    def __init__(self, room: int) -> None:
        self.capacity = asyncio.Semaphore(room)
        self._waiting: asyncio.PriorityQueue[tuple[tuple[int, int], RowWindow]] = asyncio.PriorityQueue()

    def put(self, window: RowWindow) -> None:
        """Stand in line; the caller holds room for it."""
        self._waiting.put_nowait((window.key, window))

    async def get(self) -> RowWindow:
        """The next window that is still wanted."""
        while True:
            _, window = await self._waiting.get()
            if not window.stream.closed:
                return window


class StreamHandle:
    """One backend's stream of rows through the line."""

    def __init__(self, line: WindowQueue, job: bytes) -> None:
        self.queue = line
        self.job = job
        self.results: asyncio.Queue[list[Completion] | Exception | None] = asyncio.Queue()
        self.closed = False
        self._open = 0

    def window_done(self) -> None:
        """One window is whole: its room is free."""
        self._open -= 1
        self.queue.capacity.release()
        self.results.put_nowait(None)

    async def stream(self, requests: AsyncIterator[Request], size: int) -> AsyncIterator[Completion]:
        """Answers as they come. Raises what a worker, or the pool, has against going on."""
        feeding = asyncio.create_task(self._feed(requests, size))
        feeding.add_done_callback(lambda _: self.results.put_nowait(None))
        try:
            while not (feeding.done() and self._open == 0 and self.results.empty()):
                answers_or_error = await self.results.get()
                if isinstance(answers_or_error, Exception):
                    raise answers_or_error
                for completion in answers_or_error or ():
                    yield completion
            feeding.result()
        finally:
            self.closed = True
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            for _ in range(self._open):
                self.queue.capacity.release()

    async def _feed(self, requests: AsyncIterator[Request], size: int) -> None:
        async for rows in windows(requests, size):
            await self.queue.capacity.acquire()
            self._open += 1
            self.queue.put(RowWindow(self.job, {(r.id, r.repeat): r for r in rows}, self))


DEPTH = 2
"""Windows at a worker: the one it answers, and the next, so that it never waits for the wire."""
MAX_LOSSES_IN_A_ROW = 3
"""Losses of every worker, with no answer in between, after which asking further is pointless."""
PAUSE_S = 1.0
"""Between two attempts to make a worker."""


class WorkerPool:
    """`count` workers, each made by `make` and accepted by `admit` (which raises UsageError for an unfit one).

    `admit` is awaited with the new actor and is to return a few words on where it is. remark: called on losses.
    wait_s: how long all workers may take to be ready at the start, and how long there may be none later.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        admit: Callable[[Any], Awaitable[str]],
        count: int,
        wait_s: float,
        remark: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._ray = import_ray()
        self._make = make
        self._admit = admit
        self.count = count
        self._wait_s = wait_s
        self._remark = remark
        self._queue = WindowQueue((DEPTH + 1) * count)
        self._streams: set[StreamHandle] = set()
        self._worker_tasks: list[asyncio.Task[None]] = []
        self._actors: dict[Any, str] = {}
        self._serving = 0
        self._losses_in_a_row = 0
        self._counted: dict[tuple[int, bytes], dict[str, float]] = {}
        self._serving_since = itertools.count()
        self._lost: Counter[str] = Counter()
        self._failed: Exception | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Make all workers. Raises UsageError: one is unfit, or not all are ready in time."""
        making = [asyncio.ensure_future(self._start_first_worker()) for _ in range(self.count)]
        try:
            async with asyncio.timeout(self._wait_s):
                ready = await asyncio.gather(*making)
        except TimeoutError:
            placed = sum(m.done() and not m.cancelled() and m.exception() is None for m in making)
            raise UsageError(
                f"only {placed} of {self.count} workers were ready within {self._wait_s:g} s; the cluster has "
                f"{self._resources()}: ask for fewer workers, or less for each, or wait longer (wait_s)."
            ) from None
        except self._ray.exceptions.RayError as error:
            reason = first_line(error)
            raise UsageError(f"a worker cannot be made ({reason}): is Bench installed on every node?") from None
        finally:
            for task in making:
                task.cancel()
            await asyncio.gather(*making, return_exceptions=True)
        self._worker_tasks = [asyncio.create_task(self._run_worker(actor, location)) for actor, location in ready]

    async def stream(self, job: bytes, requests: AsyncIterator[Request], size: int) -> AsyncIterator[Any]:
        """Answer requests in windows of `size`. Raises BackendStopped where it cannot continue."""
        if self._failed is not None:
            raise self._failed
        handle = StreamHandle(self._queue, job)
        self._streams.add(handle)
        try:
            async with contextlib.aclosing(handle.stream(requests, size)) as answers:  # type: ignore[type-var]
                async for completion in answers:
                    yield completion
        finally:
            self._streams.discard(handle)

    def sums(self, job: bytes) -> dict[str, float]:
        """Counters of an order: sums over all workers that ever were (of `peak_memory_bytes`: the most)."""
        total: dict[str, float] = {}
        for (_, counted), counters in self._counted.items():
            if counted == job:
                for name, value in counters.items():
                    old = total.get(name, 0.0)
                    total[name] = max(old, value) if name == "peak_memory_bytes" else old + value
        return total

    def workers(self) -> list[tuple[Any, str]]:
        """The actors that were admitted, and where each is."""
        return [(actor, location) for actor, location in self._actors.items() if location]

    @property
    def lost(self) -> int:
        """Workers that were lost so far."""
        return self._lost.total()

    async def aclose(self) -> None:
        """End all workers."""
        if self._alarm is not None:
            self._alarm.cancel()
        for task in self._worker_tasks:
            task.cancel()
        await asyncio.gather(*self._worker_tasks, return_exceptions=True)
        for actor in list(self._actors):
            self._stop_worker(actor)

    async def _start_first_worker(self) -> tuple[Any, str]:
        """A worker that dies before it is ready was put on a node that is going: another place is tried."""
        while True:
            try:
                return await self._start_worker()
            except self._ray.exceptions.RayActorError as error:
                if error.actor_init_failed:
                    raise
                self._remark(f"a worker died before it was ready ({first_line(error)}); trying again")
            await asyncio.sleep(PAUSE_S)

    async def _start_worker(self) -> tuple[Any, str]:
        actor = self._make()
        self._actors[actor] = ""
        try:
            location = self._actors[actor] = await self._admit(actor)
        except BaseException:
            self._stop_worker(actor)
            raise
        return actor, location

    def _stop_worker(self, actor: Any) -> None:
        self._actors.pop(actor, None)
        with contextlib.suppress(Exception):  # it may be dead already, or the cluster gone
            self._ray.kill(actor)

    async def _run_worker(self, actor: Any, location: str) -> None:
        """One worker after another: each serves until it is lost."""
        try:
            while True:
                self._worker_answered()
                assigned: dict[int, RowWindow] = {}
                try:
                    await self._serve(actor, assigned, next(self._serving_since))
                except self._ray.exceptions.RayTaskError:
                    raise
                except (self._ray.exceptions.RayError, ConnectionError) as error:
                    self._handle_lost_worker(actor, location, assigned, error)
                actor, location = await self._replace()
        except Exception as error:
            self._fail(error)

    async def _replace(self) -> tuple[Any, str]:
        while True:
            try:
                return await self._start_worker()
            except UsageError as error:  # a node that came back with other versions, or without the model
                self._remark(f"a new worker was rejected: {error}")
            except self._ray.exceptions.RayError as error:
                self._remark(f"a new worker could not be made ({first_line(error)}); trying again")
            await asyncio.sleep(PAUSE_S)

    async def _serve(self, actor: Any, assigned: dict[int, RowWindow], session: int) -> None:
        """Feed and listen at the same time; whichever fails ends both."""
        slots = asyncio.Semaphore(DEPTH)
        both = [
            asyncio.create_task(self._feed(actor, assigned, slots)),
            asyncio.create_task(self._listen(actor, assigned, slots, session)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
            for task in both:
                if task.done():
                    task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _feed(self, actor: Any, assigned: dict[int, RowWindow], slots: asyncio.Semaphore) -> None:
        while True:
            await slots.acquire()
            window = await self._queue.get()
            assigned[window.number] = window  # from here on it comes back if this worker is lost
            await reply(actor.submit.remote(window.number, window.job, window.rows()))

    async def _listen(self, actor: Any, assigned: dict[int, RowWindow], slots: asyncio.Semaphore, session: int) -> None:
        while True:
            for chunk in CHUNKS.decode(await reply(actor.poll.remote())):
                window = assigned[chunk.window]
                if chunk.answers:
                    self._losses_in_a_row = 0
                    window.deliver(chunk.answers)
                if chunk.ended:
                    del assigned[chunk.window]
                    self._counted[session, window.job] = chunk.counters
                    self._settle(window, chunk)
                    slots.release()

    def _settle(self, window: RowWindow, chunk: AnswerChunk) -> None:
        if window.stream.closed:
            return
        if chunk.refusal is not None:
            window.stream.results.put_nowait(BackendStopped(chunk.refusal.message, chunk.refusal.kind))
        elif chunk.fault or window.unanswered:
            message = chunk.fault or f"{len(window.unanswered)} rows of a window have no answer"
            window.stream.results.put_nowait(RuntimeError(f"a worker failed:\n{message}"))
        window.stream.window_done()

    def _handle_lost_worker(
        self, actor: Any, location: str, assigned: dict[int, RowWindow], error: BaseException
    ) -> None:
        """A worker is lost: put back what it left. Only the window that it was answering may be to blame."""
        self._stop_worker(actor)
        self._lost[location] += 1
        self._losses_in_a_row += 1
        self._serving -= 1
        left = sum(len(w.unanswered) for w in assigned.values() if not w.stream.closed)
        self._remark(f"the worker on {location} was lost; {left} rows are sent again")
        for age, window in enumerate(assigned.values()):
            if window.stream.closed:
                continue
            window.losses += 1 if age == 0 else 0
            if window.losses >= MAX_LOSSES_OF_WINDOW or not window.unanswered:
                window.fail(first_line(error))
                window.stream.window_done()
            else:
                self._queue.put(window)
        if self._losses_in_a_row >= MAX_LOSSES_IN_A_ROW * self.count:
            self._fail(BackendStopped(f"workers are lost one after another ({first_line(error)}).", "workers"))
        elif self._serving == 0:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(self._wait_s, self._no_worker_message, first_line(error))

    def _worker_answered(self) -> None:
        self._serving += 1
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _no_worker_message(self, reason: str) -> None:
        message = f"no worker is left, and none came within {self._wait_s:g} s ({reason})"
        self._fail(BackendStopped(f"{message}; the cluster has {self._resources()}.", "workers"))

    def _fail(self, error: Exception) -> None:
        """Nobody can be answered any more."""
        self._failed = self._failed or error
        for handle in self._streams:
            handle.results.put_nowait(self._failed)

    def _resources(self) -> str:
        resources = self._ray.cluster_resources()
        return (
            ", ".join(f"{k} {resources[k]:g}" for k in sorted(resources) if ":" not in k and "memory" not in k)
            or "nothing"
        )


def first_line(error: BaseException) -> str:
    """The most informative line: the last one of a remote traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    remote = [line for line in lines if "Error:" in line]
    return ((remote[-1] if remote else lines[0]) if lines else type(error).__name__).rstrip(".")[:200]
