"""A bounded concurrent map from requests to completions, in the order in which they end."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

from harness.records import Completion, Request

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
