"""Many requests at once, pulled only when one can go: bounded in number, cheap per row."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

from harness.records import Completion, Request

Call = TypeVar("Call")


async def flow(
    requests: AsyncIterator[Request],
    admit: Callable[[Request], Awaitable[Completion | Call | None]],
    perform: Callable[[Call], Awaitable[Completion | None]],
    stopped: Callable[[], bool],
    most_open: int,
) -> AsyncGenerator[Completion, None]:
    """Completions in the order in which they end.

    admit: waits until a request may go and returns its call; or its completion, where it needs no asking (the
    cache); or None, where it must not go. One request at a time is admitted, so that no more than one has been
    pulled and not sent. perform: carries a call out, many at once. stopped: no further requests are pulled once
    it is true; those begun end. most_open: calls begun whose completion has not been taken yet.
    Whatever either raises comes out here, after all that was begun has been cancelled.
    """
    done: deque[Completion | None] = deque()
    news, room = asyncio.Event(), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def one(call: Call) -> None:
        done.append(await perform(call))

    def finished(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            failures.append(error)
        news.set()

    async def pull() -> None:
        async for request in requests:
            admitted = await admit(request)
            if isinstance(admitted, Completion):
                done.append(admitted)
                news.set()
            elif admitted is not None:
                task = asyncio.create_task(one(admitted))
                tasks.add(task)
                task.add_done_callback(finished)
            while len(done) + len(tasks) >= most_open and not stopped():
                room.clear()
                await room.wait()
            if stopped():
                return

    puller = asyncio.create_task(pull())
    puller.add_done_callback(lambda _: news.set())
    try:
        while True:
            while done:
                completion = done.popleft()
                if completion is not None:
                    yield completion
            room.set()
            if failures:
                raise failures[0]
            if puller.done() and not tasks and not done:
                puller.result()
                return
            news.clear()
            await news.wait()
    finally:
        for task in (puller, *tasks):
            task.cancel()
        await asyncio.gather(puller, *tasks, return_exceptions=True)
