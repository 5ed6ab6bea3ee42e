"""The connection of an open backend: official client, transport, servers, and a bounded concurrent map."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import httpx2
import openai

from harness.backend import RunContext
from harness.backends.openai.answer_parsing import read_answer
from harness.backends.openai.batch_jobs import BatchExecutor
from harness.backends.openai.concurrency_window import SHARE, ConcurrencyWindow, EventLoopLag
from harness.backends.openai.cost_guard import BudgetReservation
from harness.backends.openai.early_check import LOOPBACK
from harness.backends.openai.in_flight_request import InFlightRequest, ReceivedAnswer
from harness.backends.openai.openai_settings import OpenAISettings, find_key, secrets_of, sent_values
from harness.backends.openai.rate_limiter import RateLimiter
from harness.backends.openai.request_body import BodyBuilder
from harness.backends.openai.request_executor import RequestExecutor
from harness.backends.openai.server_check import check_served, missing_model_message
from harness.backends.openai.server_pool import Endpoint, ServerDiscovery, ServerPool, source_of
from harness.backends.openai.streaming import read_stream
from harness.errors import UsageError
from harness.money.prices import Price
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
    it is true; those begun end. most_open: calls begun whose completion has not been taken yet.
    Whatever either raises comes out here, after all that was begun has been cancelled.
    """
    done: deque[Completion | None] = deque()
    changed, capacity = asyncio.Event(), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def one(call: Pending) -> None:
        done.append(await perform(call))

    def finished(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            failures.append(error)
        changed.set()

    async def pull() -> None:
        async for request in requests:
            admitted = await admit(request)
            if isinstance(admitted, Completion):
                done.append(admitted)
                changed.set()
            elif admitted is not None:
                task = asyncio.create_task(one(admitted))
                tasks.add(task)
                task.add_done_callback(finished)
            while len(done) + len(tasks) >= max_open and not stopped():
                capacity.clear()
                await capacity.wait()
            if stopped():
                return

    puller = asyncio.create_task(pull())
    puller.add_done_callback(lambda _: changed.set())
    try:
        while True:
            while done:
                completion = done.popleft()
                if completion is not None:
                    yield completion
            capacity.set()
            if failures:
                raise failures[0]
            if puller.done() and not tasks and not done:
                puller.result()
                return
            changed.clear()
            await changed.wait()
    finally:
        for task in (puller, *tasks):
            task.cancel()
        await asyncio.gather(puller, *tasks, return_exceptions=True)


PATH = "/chat/completions"
MOST_CONNECTIONS = 10_000
KEEP_ALIVE_S = 60.0


def make_client(name: str, settings: OpenAISettings, url: str, key: str | None) -> openai.AsyncOpenAI:
    """A client for one server: no retries of its own, no redirects (they could carry keys elsewhere)."""
    sent = sent_values(name, settings, key)
    headers = dict(sent.headers)
    if settings.base_url_dns:
        headers.setdefault("Host", urlsplit(settings.urls[0]).netloc)  # the URL holds an address
    local = urlsplit(url).hostname in LOOPBACK
    http_client = openai.DefaultAioHttpClient(
        limits=httpx2.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S),
        follow_redirects=False,
        proxy=sent.proxy,
        trust_env=not local,
    )
    if settings.azure is not None:
        return openai.AsyncAzureOpenAI(
            azure_endpoint=url,
            azure_deployment=settings.azure.deployment,
            api_version=settings.azure.api_version,
            api_key=sent.bearer,
            max_retries=0,
            timeout=settings.timeout_s,
            default_headers=headers,
            http_client=http_client,
        )
    return openai.AsyncOpenAI(
        base_url=url,
        api_key=sent.bearer,
        max_retries=0,
        timeout=settings.timeout_s,
        default_headers=headers,
        http_client=http_client,
    )


async def send_whole(endpoint: Endpoint, body: bytes) -> ReceivedAnswer:
    """Send a body and read the answer from its bytes (the client's own answer objects cost as much as the call)."""
    response = await endpoint.client.post(PATH, content=body, cast_to=httpx2.Response)
    return ReceivedAnswer(read_answer(response.content), response.headers)


async def send_streamed(endpoint: Endpoint, body: bytes) -> ReceivedAnswer:
    """Send a body whose answer is streamed; its first piece gives the first-token time. A server that does not stream
    answers whole, without one."""
    started = time.perf_counter()
    stream = await endpoint.client.post(
        PATH, content=body, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
    )
    response = stream.response  # its bytes are read here: the client's own events raise on shapes that it does not know
    try:
        answer, first = await read_stream(response.aiter_bytes(), started)
    finally:
        await response.aclose()
    return ReceivedAnswer(answer, response.headers, first)


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
        self.executor = RequestExecutor(
            f"backend '{name}'",
            settings,
            builder,
            price,
            self.pool,
            BudgetReservation(context.budget),
            send_streamed if context.probing else send_whole,
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
        """Answers one by one as the limits allow, while servers join and leave; see `flow`."""
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

    def batch_executor(self, price: Price | None) -> BatchExecutor:
        """The same server's Batch API; `price` is that of a batch."""
        return BatchExecutor(
            self.executor.label,
            self.settings,
            self.executor.builder,
            price,
            self.context.budget,
            self.pool.endpoints[0].client,
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
