"""Windows that wait for a worker, those that a lost worker left first, and the answers on their way back."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec

from harness.executors.windows import windows
from harness.records import Completion, Failure, Request

MOST_LOST = 3
"""Workers that may be lost while answering a window, before its rows end as errors: they may be the cause."""
LOST = "worker lost"


@dataclass
class Window:
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


class Line:
    """First come, first served, but for windows that come back. Bounded: `room` windows are open at a time."""

    def __init__(self, room: int) -> None:
        self.room = asyncio.Semaphore(room)
        self._waiting: asyncio.PriorityQueue[tuple[tuple[int, int], Window]] = asyncio.PriorityQueue()

    def put(self, window: Window) -> None:
        """Stand in line; the caller holds room for it."""
        self._waiting.put_nowait((window.key, window))

    async def get(self) -> Window:
        """The next window somebody still wants."""
        while True:
            _, window = await self._waiting.get()
            if not window.asker.gone:
                return window


class Asker:
    """One backend's stream of rows through the line."""

    def __init__(self, line: Line, order: bytes) -> None:
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
            self.line.put(Window(self.order, {(r.id, r.repeat): r for r in rows}, self))
