"""A pool of Ray workers: a bounded queue of row windows; the rows of a lost worker are asked again."""

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
from harness.backends.ray.ray_worker import PIECES, Piece
from harness.errors import BackendStopped, UsageError
from harness.records import Completion, Failure, Request

MOST_LOST = 3
"""Workers that may be lost while answering a window, before its rows end as errors: they may be the cause."""
LOST = "worker lost"


@dataclass
class RowWindow:
    """Rows that are asked together. `left`: those without an answer yet, by (id, repeat)."""

    order: bytes
    left: dict[tuple[str, int], Request]
    asker: "Asker"
    lost: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """Place in the line: what was begun before comes first."""
        return (0 if self.lost else 1, self.number)

    number: int = field(default_factory=itertools.count().__next__)

    def deliver(self, answers: list[Completion]) -> None:
        """Hand answers on, each row's once: what an earlier worker has answered already is dropped."""
        fresh = [a for a in answers if self.left.pop((a.id, a.repeat), None) is not None]
        if fresh:
            self.asker.news.put_nowait(fresh)

    def rows(self) -> bytes:
        """What is left, for the wire."""
        return msgspec.msgpack.encode(list(self.left.values()))

    def give_up(self, why: str) -> None:
        """End what is left as infrastructure errors: `--resume` asks it again."""
        failure = Failure(kind=LOST, message=f"{self.lost} workers were lost while answering these rows: {why}")
        self.deliver([Completion(id=row, repeat=repeat, error=failure) for row, repeat in list(self.left)])


class WindowQueue:
    """First come, first served, but for windows that come back. Bounded: `room` windows are open at a time."""

    def __init__(self, room: int) -> None:
        self.room = asyncio.Semaphore(room)
        self._waiting: asyncio.PriorityQueue[tuple[tuple[int, int], RowWindow]] = asyncio.PriorityQueue()

    def put(self, window: RowWindow) -> None:
        """Stand in line; the caller holds room for it."""
        self._waiting.put_nowait((window.key, window))

    async def get(self) -> RowWindow:
        """The next window somebody still wants."""
        while True:
            _, window = await self._waiting.get()
            if not window.asker.gone:
                return window


class Asker:
    """One backend's stream of rows through the line."""

    def __init__(self, line: WindowQueue, order: bytes) -> None:
        self.line = line
        self.order = order
        self.news: asyncio.Queue[list[Completion] | Exception | None] = asyncio.Queue()
        self.gone = False
        self._open = 0

    def ended(self) -> None:
        """One window is whole: its room is free."""
        self._open -= 1
        self.line.room.release()
        self.news.put_nowait(None)

    async def stream(self, requests: AsyncIterator[Request], size: int) -> AsyncIterator[Completion]:
        """Answers as they come. Raises what a worker, or the pool, has against going on."""
        feeding = asyncio.create_task(self._feed(requests, size))
        feeding.add_done_callback(lambda _: self.news.put_nowait(None))
        try:
            while not (feeding.done() and self._open == 0 and self.news.empty()):
                news = await self.news.get()
                if isinstance(news, Exception):
                    raise news
                for completion in news or ():
                    yield completion
            feeding.result()
        finally:
            self.gone = True
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            for _ in range(self._open):
                self.line.room.release()

    async def _feed(self, requests: AsyncIterator[Request], size: int) -> None:
        async for rows in windows(requests, size):
            await self.line.room.acquire()
            self._open += 1
            self.line.put(RowWindow(self.order, {(r.id, r.repeat): r for r in rows}, self))


DEPTH = 2
"""Windows at a worker: the one it answers, and the next, so that it never waits for the wire."""
IN_VAIN = 3
"""Losses of every worker, with no answer in between, after which asking further is pointless."""
PAUSE_S = 1.0
"""Between two attempts to make a worker."""


class WorkerPool:
    """`count` workers, each made by `make` and accepted by `admit` (which raises UsageError for an unfit one).

    `admit` is awaited with the new actor and is to return a few words on where it is. remark: told of losses.
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
        self._line = WindowQueue((DEPTH + 1) * count)
        self._askers: set[Asker] = set()
        self._seats: list[asyncio.Task[None]] = []
        self._actors: dict[Any, str] = {}
        self._serving = 0
        self._in_vain = 0
        self._counted: dict[tuple[int, bytes], dict[str, float]] = {}
        self._tenures = itertools.count()
        self._lost: Counter[str] = Counter()
        self._failed: Exception | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Make all workers. Raises UsageError: one is unfit, or not all are ready in time."""
        making = [asyncio.ensure_future(self._first_hire()) for _ in range(self.count)]
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
            why = first_line(error)
            raise UsageError(f"a worker cannot be made ({why}): is Bench installed on every node?") from None
        finally:
            for task in making:
                task.cancel()
            await asyncio.gather(*making, return_exceptions=True)
        self._seats = [asyncio.create_task(self._seat(actor, where)) for actor, where in ready]

    async def stream(self, order: bytes, requests: AsyncIterator[Request], size: int) -> AsyncIterator[Any]:
        """Answer requests in windows of `size`. Raises BackendStopped where it cannot go on."""
        if self._failed is not None:
            raise self._failed
        asker = Asker(self._line, order)
        self._askers.add(asker)
        try:
            async with contextlib.aclosing(asker.stream(requests, size)) as answers:  # type: ignore[type-var]
                async for completion in answers:
                    yield completion
        finally:
            self._askers.discard(asker)

    def sums(self, order: bytes) -> dict[str, float]:
        """Counters of an order: sums over all workers that ever were (of `peak_memory_bytes`: the most)."""
        total: dict[str, float] = {}
        for (_, counted), counters in self._counted.items():
            if counted == order:
                for name, value in counters.items():
                    old = total.get(name, 0.0)
                    total[name] = max(old, value) if name == "peak_memory_bytes" else old + value
        return total

    def workers(self) -> list[tuple[Any, str]]:
        """The actors that were admitted, and where each is."""
        return [(actor, where) for actor, where in self._actors.items() if where]

    @property
    def lost(self) -> int:
        """Workers that were lost so far."""
        return self._lost.total()

    async def aclose(self) -> None:
        """End all workers."""
        if self._alarm is not None:
            self._alarm.cancel()
        for seat in self._seats:
            seat.cancel()
        await asyncio.gather(*self._seats, return_exceptions=True)
        for actor in list(self._actors):
            self._dismiss(actor)

    async def _first_hire(self) -> tuple[Any, str]:
        """A worker that dies before it is ready was put on a node that is going: another place is tried."""
        while True:
            try:
                return await self._hire()
            except self._ray.exceptions.RayActorError as error:
                if error.actor_init_failed:
                    raise
                self._remark(f"a worker died before it was ready ({first_line(error)}); trying again")
            await asyncio.sleep(PAUSE_S)

    async def _hire(self) -> tuple[Any, str]:
        actor = self._make()
        self._actors[actor] = ""
        try:
            where = self._actors[actor] = await self._admit(actor)
        except BaseException:
            self._dismiss(actor)
            raise
        return actor, where

    def _dismiss(self, actor: Any) -> None:
        self._actors.pop(actor, None)
        with contextlib.suppress(Exception):  # it may be dead already, or the cluster gone
            self._ray.kill(actor)

    async def _seat(self, actor: Any, where: str) -> None:
        """One worker after another: each serves until it is lost."""
        try:
            while True:
                self._came()
                mine: dict[int, RowWindow] = {}
                try:
                    await self._serve(actor, mine, next(self._tenures))
                except self._ray.exceptions.RayTaskError:
                    raise
                except (self._ray.exceptions.RayError, ConnectionError) as error:
                    self._bury(actor, where, mine, error)
                actor, where = await self._replace()
        except Exception as error:
            self._fail(error)

    async def _replace(self) -> tuple[Any, str]:
        while True:
            try:
                return await self._hire()
            except UsageError as error:  # a node that came back with other versions, or without the model
                self._remark(f"a new worker was turned away: {error}")
            except self._ray.exceptions.RayError as error:
                self._remark(f"a new worker could not be made ({first_line(error)}); trying again")
            await asyncio.sleep(PAUSE_S)

    async def _serve(self, actor: Any, mine: dict[int, RowWindow], tenure: int) -> None:
        """Feed and listen at the same time; whichever fails ends both."""
        depth = asyncio.Semaphore(DEPTH)
        both = [
            asyncio.create_task(self._feed(actor, mine, depth)),
            asyncio.create_task(self._listen(actor, mine, depth, tenure)),
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

    async def _feed(self, actor: Any, mine: dict[int, RowWindow], depth: asyncio.Semaphore) -> None:
        while True:
            await depth.acquire()
            window = await self._line.get()
            mine[window.number] = window  # from here on it comes back if this worker is lost
            await reply(actor.ask.remote(window.number, window.order, window.rows()))

    async def _listen(self, actor: Any, mine: dict[int, RowWindow], depth: asyncio.Semaphore, tenure: int) -> None:
        while True:
            for piece in PIECES.decode(await reply(actor.take.remote())):
                window = mine[piece.ticket]
                if piece.answers:
                    self._in_vain = 0
                    window.deliver(piece.answers)
                if piece.ended:
                    del mine[piece.ticket]
                    self._counted[tenure, window.order] = piece.counters
                    self._settle(window, piece)
                    depth.release()

    def _settle(self, window: RowWindow, piece: Piece) -> None:
        if window.asker.gone:
            return
        if piece.refused is not None:
            window.asker.news.put_nowait(BackendStopped(piece.refused.message, piece.refused.kind))
        elif piece.fault or window.left:
            said = piece.fault or f"{len(window.left)} rows of a window have no answer"
            window.asker.news.put_nowait(RuntimeError(f"a worker failed:\n{said}"))
        window.asker.ended()

    def _bury(self, actor: Any, where: str, mine: dict[int, RowWindow], error: BaseException) -> None:
        """A worker is lost: put back what it left. Only the window that it was answering may be to blame."""
        self._dismiss(actor)
        self._lost[where] += 1
        self._in_vain += 1
        self._serving -= 1
        left = sum(len(w.left) for w in mine.values() if not w.asker.gone)
        self._remark(f"the worker on {where} was lost; {left} rows are asked again")
        for age, window in enumerate(mine.values()):
            if window.asker.gone:
                continue
            window.lost += 1 if age == 0 else 0
            if window.lost >= MOST_LOST or not window.left:
                window.give_up(first_line(error))
                window.asker.ended()
            else:
                self._line.put(window)
        if self._in_vain >= IN_VAIN * self.count:
            self._fail(BackendStopped(f"workers are lost one after another ({first_line(error)}).", "workers"))
        elif self._serving == 0:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(self._wait_s, self._nobody, first_line(error))

    def _came(self) -> None:
        self._serving += 1
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _nobody(self, why: str) -> None:
        said = f"no worker is left, and none came within {self._wait_s:g} s ({why})"
        self._fail(BackendStopped(f"{said}; the cluster has {self._resources()}.", "workers"))

    def _fail(self, error: Exception) -> None:
        """Nobody can be answered any more."""
        self._failed = self._failed or error
        for asker in self._askers:
            asker.news.put_nowait(self._failed)

    def _resources(self) -> str:
        has = self._ray.cluster_resources()
        return ", ".join(f"{k} {has[k]:g}" for k in sorted(has) if ":" not in k and "memory" not in k) or "nothing"


def first_line(error: BaseException) -> str:
    """The line that tells most: the last one of a remote traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    remote = [line for line in lines if "Error:" in line]
    return ((remote[-1] if remote else lines[0]) if lines else type(error).__name__).rstrip(".")[:200]
