"""Many requests at once, pulled as they are needed: bounded in number, cheap per row."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from harness.records import Completion, Request


async def flow(
    requests: AsyncIterator[Request],
    at_once: Callable[[Request], Completion | None],
    work: Callable[[Request], Awaitable[Completion | None]],
    stopped: Callable[[], bool],
    most_open: int,
) -> AsyncIterator[Completion]:
    """Completions in the order in which they end.

    at_once: an answer that needs no waiting (from the cache), or None. work: the answer; None for a request
    that was not sent after all. stopped: no further requests are pulled once it is true; those begun end.
    most_open: requests pulled whose completion has not been taken yet; bounds memory.
    Whatever `work` raises comes out here, after all begun requests were cancelled.
    """
    done: deque[Completion | None] = deque()
    news, room = asyncio.Event(), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    opened = 0

    async def one(request: Request) -> None:
        done.append(await work(request))
        news.set()

    async def pull() -> None:
        nonlocal opened
        async for request in requests:
            opened += 1
            ready = at_once(request)
            if ready is not None:
                done.append(ready)
                news.set()
            else:
                task = asyncio.create_task(one(request))
                tasks.add(task)
                task.add_done_callback(finished)
            while opened >= most_open and not stopped():
                room.clear()
                await room.wait()
            if stopped():
                return

    def finished(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            failures.append(task)
        news.set()

    failures: list[asyncio.Task[None]] = []
    puller = asyncio.create_task(pull())
    puller.add_done_callback(lambda _: news.set())
    try:
        while True:
            while done:
                completion = done.popleft()
                opened -= 1
                room.set()
                if completion is not None:
                    yield completion
            if failures:
                failures[0].result()
            if stopped():
                room.set()
            if puller.done() and not tasks and not done:
                puller.result()
                return
            news.clear()
            await news.wait()
    finally:
        for task in (puller, *tasks):
            task.cancel()
        await asyncio.gather(puller, *tasks, return_exceptions=True)
