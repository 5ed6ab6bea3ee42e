"""How many requests are in flight at once: a window that adapts to the server, and a map bounded by it."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

from harness.records import Completion, Request

EVERY_S = 0.01
WEIGHT = 0.1
SHARE = 0.05
"""Lag above this part of a latency makes the latency the client's own (a request passes the loop several times)."""


class EventLoopLag:
    """Measures the event loop's lateness while it runs: `recent` (exponentially weighted) and `mean`, seconds."""

    def __init__(self) -> None:
        self.recent = 0.0
        self._sum = 0.0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def mean(self) -> float:
        """Over everything measured so far."""
        return self._sum / self._count if self._count else 0.0

    def start(self) -> None:
        """Begin to measure in the running loop."""
        self._expect(asyncio.get_running_loop())

    def _expect(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(EVERY_S, self._called, loop, time.perf_counter() + EVERY_S)

    def _called(self, loop: asyncio.AbstractEventLoop, expected: float) -> None:
        late = max(0.0, time.perf_counter() - expected)
        self.recent += WEIGHT * (late - self.recent)
        self._sum += late
        self._count += 1
        self._expect(loop)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


FIRST, START = 4, 32
"""In flight until the first answer (it reports the limits), and then."""


class ConcurrencyWindow:
    """A congestion window. Each round is as many answers as the window is wide.

    After a round in which the window was full it grows by half, if latency held (within `HELD` times the best
    round's mean) or throughput rose by `RISE` since the last growth; if neither did, it goes back to the width
    that was as good. Where this process is the bottleneck, more in flight would only wait here and be recorded
    as slow: the width then becomes what the best latency needs (width x best / mean, Brakmo and Peterson's
    Vegas rule) and a quarter more. An overload of the server takes a third, at most once a round.
    """

    HELD, RISE, OVERLOAD = 1.2, 1.05, 0.67

    def __init__(self, ceiling: int, lag: EventLoopLag) -> None:
        self.ceiling = ceiling
        self.lag = lag
        self.width = min(FIRST, ceiling)
        self.best_latency = float("inf")
        self._last_width = self.width
        self._last_rate = 0.0
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._count = 0
        self._sum = 0.0
        self._full = False
        self._cut = False
        self._began = now

    def answered(self, service_s: float, in_flight: int, now: float) -> None:
        """Note an answer (and how many were in flight with it); at the end of a round, choose the next width."""
        if self.best_latency == float("inf"):
            self.best_latency = service_s
            self.width = max(self.width, min(START, self.ceiling))
            self._begin(now)
            return
        self._count += 1
        self._sum += service_s
        self._full = self._full or in_flight >= self.width
        if self._count >= self.width:
            self._end_of_round(now)

    def _end_of_round(self, now: float) -> None:
        wall = max(now - self._began, 1e-6)
        mean, rate = self._sum / self._count, self._count / wall
        self.best_latency = min(self.best_latency, mean)
        held = mean <= self.HELD * self.best_latency
        if not held and self.lag.recent > SHARE * self.best_latency:
            self.width = max(min(START, self.ceiling), int(1.25 * self.width * self.best_latency / mean))
        elif self._full and not self._cut:
            if held or rate >= self.RISE * self._last_rate:
                self._last_width, self._last_rate = self.width, max(rate, self._last_rate)
                self.width = min(self.ceiling, self.width + (self.width + 1) // 2)
            else:
                self.width = max(min(START, self.ceiling), self._last_width)
        self._begin(now)

    def overloaded(self) -> None:
        """The server said that it has too much to do."""
        if not self._cut:
            self._cut = True
            self.width = max(1, int(self.width * self.OVERLOAD))
            self._last_width = self.width


Pending = TypeVar("Pending")


async def bounded_map(
    requests: AsyncIterator[Request],
    admit: Callable[[Request], Awaitable[Completion | Pending | None]],
    perform: Callable[[Pending], Awaitable[Completion | None]],
    stopped: Callable[[], bool],
    max_open: int,
) -> AsyncGenerator[Completion, None]:
    """Completions in the order in which they end.

    admit: waits until a request may go and returns its call; or its completion, where it needs no asking (the
    cache); or None, where it must not go. One request at a time is admitted, so that no more than one has been
    pulled and not sent. perform: carries a call out, many at once. stopped: no further requests are pulled once
    it is true; those begun end. max_open: calls begun whose completion has not been taken yet.
    Whatever either raises comes out here, after all that was begun has been cancelled.
    """
    calls = _Calls(admit, perform, stopped, max_open)
    puller = asyncio.create_task(calls.pull(requests))
    puller.add_done_callback(lambda _: calls.changed.set())
    try:
        while True:
            while calls.done:
                completion = calls.done.popleft()
                if completion is not None:
                    yield completion
            calls.capacity.set()
            if calls.failures:
                raise calls.failures[0]
            if puller.done() and not calls.tasks and not calls.done:
                puller.result()
                return
            calls.changed.clear()
            await calls.changed.wait()
    finally:
        for task in (puller, *calls.tasks):
            task.cancel()
        await asyncio.gather(puller, *calls.tasks, return_exceptions=True)


class _Calls(Generic[Pending]):
    """The calls of one map: those that run, those that ended and have not been taken, and what was raised.

    changed: set when there is news for whoever takes completions; capacity: when completions have been taken.
    """

    def __init__(
        self,
        admit: Callable[[Request], Awaitable[Completion | Pending | None]],
        perform: Callable[[Pending], Awaitable[Completion | None]],
        stopped: Callable[[], bool],
        max_open: int,
    ) -> None:
        self._admit = admit
        self._perform = perform
        self._stopped = stopped
        self._max_open = max_open
        self.done: deque[Completion | None] = deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []
        self.changed, self.capacity = asyncio.Event(), asyncio.Event()

    async def pull(self, requests: AsyncIterator[Request]) -> None:
        """Admit requests one by one and begin their calls, as many as may be open."""
        async for request in requests:
            admitted = await self._admit(request)
            if isinstance(admitted, Completion):
                self.done.append(admitted)
                self.changed.set()
            elif admitted is not None:
                task = asyncio.create_task(self._one(admitted))
                self.tasks.add(task)
                task.add_done_callback(self._finished)
            while len(self.done) + len(self.tasks) >= self._max_open and not self._stopped():
                self.capacity.clear()
                await self.capacity.wait()
            if self._stopped():
                return

    async def _one(self, call: Pending) -> None:
        self.done.append(await self._perform(call))

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.failures.append(error)
        self.changed.set()
