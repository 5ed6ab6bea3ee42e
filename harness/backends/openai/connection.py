"""The connection of an open backend: its servers, how a body is sent to one, and the stream of completions."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from harness.backend import RunContext
from harness.backends.openai.answer_parsing import read_answer
from harness.backends.openai.classification import send_classified
from harness.backends.openai.concurrency_window import SHARE, ConcurrencyWindow, EventLoopLag, bounded_map
from harness.backends.openai.http_client import make_client
from harness.backends.openai.in_flight_request import InFlightRequest, ReceivedAnswer, Send
from harness.backends.openai.openai_settings import OpenAISettings, find_key, secrets_of
from harness.backends.openai.rate_limiter import RateLimiter
from harness.backends.openai.request_body import BodyBuilder
from harness.backends.openai.request_executor import RequestExecutor
from harness.backends.openai.server_check import check_served, missing_model_message
from harness.backends.openai.server_pool import Endpoint, ServerDiscovery, ServerPool, source_of
from harness.backends.openai.streaming import read_stream
from harness.backends.openai.token_usage import BudgetReservation
from harness.errors import UsageError
from harness.money.prices import Price
from harness.records import Completion, Request

if TYPE_CHECKING:
    import openai

    from harness.backends.openai.batch_jobs import BatchExecutor

PATH = "/chat/completions"


async def send_whole(endpoint: Endpoint, body: bytes) -> ReceivedAnswer:
    """Send a body and read the whole answer."""
    response = await endpoint.client.post(PATH, body)
    return ReceivedAnswer(read_answer(response.content), response.headers)


async def send_streamed(endpoint: Endpoint, body: bytes) -> ReceivedAnswer:
    """Send a body whose answer is streamed; its first piece gives the first-token time. A server that does not stream
    answers whole, without one."""
    started = time.perf_counter()
    async with endpoint.client.stream(PATH, body) as (pieces, headers):
        answer, first = await read_stream(pieces, started)
    return ReceivedAnswer(answer, headers, first)


def _sender(builder: BodyBuilder) -> Send:
    """How a backend's bodies are sent."""
    if builder.decode == "head":
        return send_classified
    return send_streamed if builder.streams else send_whole


OPEN_ROWS = 16
"""Rows pulled beyond twice the concurrency: those that wait for a slot or between attempts."""


class ServerConnection:
    """The servers of one backend; `open` comes first. Construction raises UsageError where a key is missing."""

    def __init__(
        self, name: str, settings: OpenAISettings, builder: BodyBuilder, price: Price | None, context: RunContext
    ) -> None:
        self.name = name
        self.settings = settings
        self.context = context
        self.pool = ServerPool(settings.concurrency)
        self._key = find_key(name, settings)
        self._discovery = ServerDiscovery(
            source_of(settings), self.pool, self._endpoint, self._rejection, context.remark
        )
        self._lag = EventLoopLag()
        self._sdk_client: openai.AsyncOpenAI | None = None
        self.executor = RequestExecutor(
            f"backend '{name}'",
            settings,
            builder,
            price,
            self.pool,
            BudgetReservation(context.budget),
            _sender(builder),
            secrets_of(settings, self._key),
            context.remark,
        )

    def _endpoint(self, url: str) -> Endpoint:
        return Endpoint(
            url,
            make_client(self.name, self.settings, url, self._key),
            RateLimiter(self.settings.rpm, self.settings.tpm),
            ConcurrencyWindow(self.settings.concurrency, self._lag),
        )

    async def _rejection(self, endpoint: Endpoint) -> str | None:
        """Servers that are named one by one were meant; one that a file or DNS brings must have the model."""
        if self.settings.base_url_file is None and not self.settings.base_url_dns:
            return None
        return await missing_model_message(endpoint.url, self.executor.builder.model, endpoint.client)

    async def open(self) -> None:
        """Find the servers. Raises UsageError for a bad source of them, and where none is fit."""
        await self._discovery.discover()

    async def shutdown_day(self) -> str | None:
        """The day on which the model ends, as a server says it. Raises UsageError where it has come, and where no
        server can be reached; of several servers, those that cannot are remarked on."""
        if self.settings.azure is not None:  # its paths hold the deployment: it lists no models there
            return None
        model = self.executor.builder.model
        checks = (check_served(self.name, model, e.url, e.client) for e in self.pool.endpoints)
        found = await asyncio.gather(*checks, return_exceptions=True)
        faults = [f for f in found if isinstance(f, BaseException)]
        for fault in faults:
            if len(faults) == len(found) or not isinstance(fault, UsageError):
                raise fault
            self.context.remark(str(fault))
        return next((day for day in found if isinstance(day, str)), None)

    async def stream(
        self,
        requests: AsyncIterator[Request],
        admit: Callable[[Request], Awaitable[Completion | InFlightRequest | None]],
        perform: Callable[[InFlightRequest], Awaitable[Completion | None]],
    ) -> AsyncGenerator[Completion, None]:
        """Answers one by one as the limits allow, while servers join and leave; see `bounded_map`."""
        self._lag.start()
        if self.settings.fleet:
            self._discovery.start(self.settings.reread_s)
        try:
            answers = bounded_map(
                requests, admit, perform, self.executor.stopped, 2 * self.settings.concurrency + OPEN_ROWS
            )
            async with contextlib.aclosing(answers):
                async for completion in answers:
                    yield completion
        finally:
            self._lag.stop()
            await self._discovery.stop()

    def batch_executor(self, price: Price | None) -> "BatchExecutor":
        """The same server's Batch API; `price` is that of a batch."""
        from harness.backends.openai.batch_jobs import BatchExecutor  # the official client: a second of imports
        from harness.backends.openai.sdk_client import make_sdk_client

        if self._sdk_client is None:
            self._sdk_client = make_sdk_client(self.name, self.settings, self.pool.endpoints[0].url, self._key)
        return BatchExecutor(
            self.executor.label,
            self.settings,
            self.executor.builder,
            price,
            self.context.budget,
            self._sdk_client,
            self.executor.clean,
            lambda done, total: self.context.progress(self.name, done, total),
        )

    def counters(self) -> dict[str, float]:
        """In flight at most, the client's own lateness, and money that may be lost.

        client_bound is 1 where that lateness is above lag.SHARE of the servers' best latency: recorded
        latencies are then this machine's rather than the servers'.
        """
        best = min(e.window.best_latency for e in self.pool.endpoints)
        several = {
            "servers": float(len(self.pool.endpoints)),
            "servers_joined": float(self._discovery.joined),
            "servers_left": float(self._discovery.left),
        }
        return {
            "most_in_flight": float(self.pool.most_in_flight),
            "client_lag_s": round(self._lag.mean, 6),
            "client_bound": float(self._lag.mean > SHARE * best),
            "maybe_billed_usd": self.executor.budget_reservation.maybe_billed,
            **(several if self.settings.fleet else {}),
        }

    async def aclose(self) -> None:
        """Close all connections."""
        await self.pool.aclose()
        if self._sdk_client is not None:
            await self._sdk_client.close()
