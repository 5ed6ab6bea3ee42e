"""What an open backend has: its servers, those that join and leave, and the ways of asking them. Brings the client."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from harness.api.batch import BatchCaller
from harness.api.body import BodyBuilder
from harness.api.caller import Call, Caller
from harness.api.client import find_key, make_client, send_streamed, send_whole
from harness.api.endpoints import Endpoint, Pool
from harness.api.fleet import source_of
from harness.api.flow import flow
from harness.api.lag import SHARE, Lag
from harness.api.membership import Membership
from harness.api.models import check_served, lacks_model
from harness.api.money import Purse
from harness.api.pacing import Pacer
from harness.api.settings import OpenAISettings, secrets_of
from harness.api.window import Window
from harness.backend import RunContext
from harness.errors import UsageError
from harness.money.prices import Price
from harness.records import Completion, Request

OPEN_ROWS = 16
"""Rows pulled beyond twice the concurrency: those that wait for a slot or between attempts."""


class Service:
    """The servers of one backend; `open` comes first. Construction raises UsageError where a key is missing."""

    def __init__(
        self, name: str, settings: OpenAISettings, builder: BodyBuilder, price: Price | None, context: RunContext
    ) -> None:
        self.name = name
        self.settings = settings
        self.context = context
        self.pool = Pool(settings.concurrency)
        self._key = find_key(name, settings)
        self._members = Membership(source_of(settings), self.pool, self._endpoint, self._unfit, context.remark)
        self._lag = Lag()
        self.caller = Caller(
            f"backend '{name}'",
            settings,
            builder,
            price,
            self.pool,
            Purse(context.budget),
            send_streamed if context.probing else send_whole,
            secrets_of(settings, self._key),
            context.remark,
        )

    def _endpoint(self, url: str) -> Endpoint:
        return Endpoint(
            url,
            make_client(self.name, self.settings, url, self._key),
            Pacer(self.settings.rpm, self.settings.tpm),
            Window(self.settings.concurrency, self._lag),
        )

    async def _unfit(self, endpoint: Endpoint) -> str | None:
        """Servers that are named one by one were meant; one that a file or DNS brings must have the model."""
        if self.settings.base_url_file is None and not self.settings.base_url_dns:
            return None
        return await lacks_model(endpoint.url, self.caller.builder.model, endpoint.client)

    async def open(self) -> None:
        """Find the servers. Raises UsageError for a bad source of them, and where none is fit."""
        await self._members.first()

    async def shutdown_day(self) -> str | None:
        """The day on which the model ends, as a server says it. Raises UsageError where it has come, and where no
        server can be reached; of several servers, those that cannot are remarked on."""
        if self.settings.azure is not None:  # its paths hold the deployment: it lists no models there
            return None
        model = self.caller.builder.model
        looks = (check_served(self.name, model, e.url, e.client) for e in self.pool.endpoints)
        found = await asyncio.gather(*looks, return_exceptions=True)
        faults = [f for f in found if isinstance(f, BaseException)]
        for fault in faults:
            if len(faults) == len(found) or not isinstance(fault, UsageError):
                raise fault
            self.context.remark(str(fault))
        return next((day for day in found if isinstance(day, str)), None)

    async def flowing(
        self,
        requests: AsyncIterator[Request],
        admit: Callable[[Request], Awaitable[Completion | Call | None]],
        perform: Callable[[Call], Awaitable[Completion | None]],
    ) -> AsyncGenerator[Completion, None]:
        """Answers one by one as the limits allow, while servers join and leave; see `flow`."""
        self._lag.start()
        if self.settings.fleet:
            self._members.start(self.settings.reread_s)
        try:
            answers = flow(requests, admit, perform, self.caller.stopped, 2 * self.settings.concurrency + OPEN_ROWS)
            async with contextlib.aclosing(answers):
                async for completion in answers:
                    yield completion
        finally:
            self._lag.stop()
            await self._members.stop()

    def batches(self, price: Price | None) -> BatchCaller:
        """The same server's Batch API; `price` is that of a batch."""
        return BatchCaller(
            self.caller.where,
            self.settings,
            self.caller.builder,
            price,
            self.context.budget,
            self.pool.endpoints[0].client,
            self.caller.clean,
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
            "servers_joined": float(self._members.joined),
            "servers_left": float(self._members.left),
        }
        return {
            "most_in_flight": float(self.pool.most_in_flight),
            "client_lag_s": round(self._lag.mean, 6),
            "client_bound": float(self._lag.mean > SHARE * best),
            "maybe_billed_usd": self.caller.purse.maybe_billed,
            **(several if self.settings.fleet else {}),
        }

    async def aclose(self) -> None:
        """Close all connections."""
        await self.pool.aclose()
