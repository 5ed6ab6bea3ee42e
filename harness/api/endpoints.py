"""The servers of one backend: each with its own client, limits and window; the least loaded is asked first."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

import openai

from harness.api.pacing import Pacer
from harness.api.window import Window

FIRST_REST_S, LONGEST_REST_S = 0.1, 30.0
"""How long a server rests after a connection error, where there are others: four times longer each time."""


class Endpoint:
    """One server."""

    def __init__(self, url: str, client: openai.AsyncOpenAI, pacer: Pacer, window: Window) -> None:
        self.url = url
        self.client = client
        self.pacer = pacer
        self.window = window
        self.in_flight = 0
        self.errors_in_a_row = 0
        self.resting_until = 0.0
        self.leaving = False

    @property
    def load(self) -> float:
        """Part of its window that is in use."""
        return self.in_flight / self.window.width

    def reached(self) -> None:
        """It answered, whatever it said."""
        self.errors_in_a_row = 0
        self.resting_until = 0.0

    def lost(self, now: float) -> None:
        """It could not be reached: it rests, longer each time in a row, and is then tried with one request."""
        if now >= self.resting_until:
            self.resting_until = now + min(LONGEST_REST_S, FIRST_REST_S * 4**self.errors_in_a_row)
            self.errors_in_a_row += 1

    def open(self, now: float) -> bool:
        """Whether it may be sent a request."""
        most = 1 if self.errors_in_a_row else self.window.width
        return self.resting_until <= now and self.in_flight < most


class Pool:
    """Slots of all servers together. Rows that find none wait in line."""

    def __init__(self, ceiling: int) -> None:
        self.endpoints: list[Endpoint] = []
        self.ceiling = ceiling
        self.in_flight = 0
        self.most_in_flight = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._leaving: set[Endpoint] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def join(self, endpoint: Endpoint) -> None:
        """One server more."""
        self.endpoints.append(endpoint)
        self.wake()

    def leave(self, url: str) -> None:
        """One server less: it is sent nothing more, and what is in flight there may end."""
        for endpoint in [e for e in self.endpoints if e.url == url]:
            self.endpoints.remove(endpoint)
            self._leaving.add(endpoint)
            endpoint.leaving = True
            self._let_go(endpoint)

    def endpoints_of(self, urls: Iterable[str]) -> list[Endpoint]:
        """Those of the servers that are here."""
        wanted = set(urls)
        return [e for e in self.endpoints if e.url in wanted]

    def _let_go(self, endpoint: Endpoint) -> None:
        """Close the connections of a server that leaves, once nothing is in flight there."""
        if endpoint in self._leaving and not endpoint.in_flight:
            self._leaving.discard(endpoint)
            task = asyncio.get_running_loop().create_task(endpoint.client.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all connections."""
        for endpoint in (*self.endpoints, *self._leaving):
            await endpoint.client.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def acquire(self, prompt_bytes: int, answer_tokens: int, stopped: Callable[[], bool]) -> Endpoint | None:
        """A slot where it is soonest a request's turn; None where `stopped()` became true meanwhile."""
        while not stopped():
            endpoint = self._free(prompt_bytes, answer_tokens) if not self._line else None
            if endpoint is None:
                await self._wait()
                endpoint = self._free(prompt_bytes, answer_tokens)
            if endpoint is not None:
                endpoint.in_flight += 1
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                return endpoint
        return None

    async def _wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(future)
        try:
            # A resting server comes back by the clock, not by a release: look again now and then.
            await (asyncio.wait_for(future, 0.5) if self._any_resting() else future)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if future.done():  # it was this row's turn: the next one's now
                self.wake(1)
            raise

    def _any_resting(self) -> bool:
        return any(e.resting_until for e in self.endpoints)

    def _free(self, prompt_bytes: int, answer_tokens: int) -> Endpoint | None:
        if self.in_flight >= self.ceiling:
            return None
        if len(self.endpoints) == 1:
            only = self.endpoints[0]
            return only if only.in_flight < only.window.width else None
        now = time.monotonic()
        open_ones = [e for e in self.endpoints if e.open(now)]
        if not open_ones:
            if any(e.resting_until <= now for e in self.endpoints):
                return None
            open_ones = [min(self.endpoints, key=lambda e: e.resting_until)]  # all rest: try the one nearest its end
        waits = {e.url: e.pacer.wait(e.pacer.estimate(prompt_bytes, answer_tokens), now) for e in open_ones}
        return min(open_ones, key=lambda e: (waits[e.url], e.load))

    def release(self, endpoint: Endpoint) -> None:
        """Give a slot back and let the next in line look."""
        endpoint.in_flight -= 1
        self.in_flight -= 1
        self._let_go(endpoint)
        self.wake(max(1, endpoint.window.width - endpoint.in_flight))

    def wake(self, most: int | None = None) -> None:
        """Let rows in line look again (all of them: when the backend stops)."""
        woken = 0
        while self._line and (most is None or woken < most):
            future = self._line.popleft()
            if not future.done():
                future.set_result(None)
                woken += 1
