"""The openai backend: GPT models and every OpenAI-compatible server."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from harness.adapter import find_adapter, find_current, read_manifest
from harness.api.batch import BatchCaller
from harness.api.body import BodyBuilder
from harness.api.caller import Call, Caller
from harness.api.capabilities import family_of
from harness.api.client import find_key, make_client, send_streamed, send_whole
from harness.api.endpoints import Endpoint, Pool
from harness.api.fleet import source_of
from harness.api.flow import flow
from harness.api.lag import SHARE, Lag
from harness.api.membership import Membership
from harness.api.models import check_listed, check_served, lacks_model
from harness.api.money import Purse
from harness.api.pacing import Pacer
from harness.api.settings import OPENAI_URL, OpenAISettings, check_settings
from harness.api.window import Window
from harness.asking.cache import AnswerCache, from_cache
from harness.backend import Needs, RunContext
from harness.errors import UsageError
from harness.identity import Identity
from harness.money.prices import Price, price_table
from harness.records import Completion, Decode, Request

OPEN_ROWS = 16
"""Rows pulled beyond twice the concurrency: those that wait for a slot or between attempts."""


class OpenAIBackend:
    """Chat completions through the official async client. See harness/api for each of its parts."""

    Settings = OpenAISettings

    def __init__(self, name: str, settings: OpenAISettings, task_name: str, context: RunContext) -> None:
        check_settings(name, settings)
        self.name = name
        self.settings = settings
        self.context = context
        self.decode: Decode = "json" if settings.decode == "json" else "generate"
        self.model, self.adapter, self._training_usd = _hosted_model(name, settings, task_name, context)
        self.family = family_of(self.model)
        self.price = settings.price or self._listed_price()
        self.builder = BodyBuilder(name, settings, self.model, self.decode, self.family, stream=context.probing)
        self._pool: Pool | None = None
        self._caller: Caller | None = None
        self._members: Membership | None = None
        self._key: str | None = None
        self._cache: AnswerCache | None = None
        self._cached = 0
        self._shutdown: str | None = None
        self._lag = Lag()

    def _listed_price(self) -> Price | None:
        """The table's price of this very model id; gateways and Azure charge what OpenAI charges."""
        listed = price_table().find(self.model)
        return listed.price if listed is not None else None

    def identity(self) -> Identity:
        """What answers: model, decode, price, servers and limits; never a key."""
        listed = price_table().find(self.model) if self.settings.at_openai else None
        settings = {
            "base_url": self.settings.base_url_file or list(self.settings.urls),
            "concurrency": self.settings.concurrency,
            **self.builder.facts(),
        }
        for key in ("base_url_dns", "rpm", "tpm", "azure", "batch"):
            value = getattr(self.settings, key)
            if value:
                settings[key] = msgspec.to_builtins(value)
        return Identity(
            kind="openai",
            model=self.model,
            decode=self.decode,
            adapter=self.adapter,
            training_usd=self._training_usd,
            price=msgspec.to_builtins(self.price) if self.price is not None else None,
            retired=self._shutdown or (listed.shutdown if listed is not None else None),
            settings=settings,
        )

    def _scope(self) -> list[Any]:
        """All that shapes an answer beyond the request: the cache key's own part."""
        azure = msgspec.to_builtins(self.settings.azure)
        servers = self.settings.base_url_file or sorted(self.settings.urls)
        return [self.model, servers, azure, self.decode, self.builder.facts()]

    async def check(self, needs: Needs) -> None:
        """Key, living model, and what the task needs. Raises UsageError before anything is paid."""
        where = f"[backends.{self.name}]"
        check_listed(self.name, self.model, self.settings)
        if self.decode == "json":
            if not self.family.schema:
                raise UsageError(f'{where}: {self.model} takes no JSON schema; use decode = "generate".')
            if not needs.schema and not needs.labels:
                raise UsageError(f'{where}: decode = "json" needs a task with a schema or labels.')
        if self.settings.batch and (self.settings.azure or len(self.settings.urls) > 1):
            raise UsageError(f"{where}: batch = true works with one base_url, and not with azure.")
        price = self.price.batch() if self.settings.batch and self.price is not None else self.price
        if self.context.budget.ceiling is not None and price is None:
            raise UsageError(
                f"{where}: the {'batch ' if self.settings.batch else ''}price of {self.model} is unknown, so "
                f"--max-cost cannot be kept: give price = {{ input = .., output = .. }} (USD per million tokens; "
                f"for batches batch_input and batch_output too), or run without --max-cost."
            )
        await self._open()
        assert self._pool is not None
        days = await asyncio.gather(
            *(check_served(self.name, self.model, endpoint.client) for endpoint in self._pool.endpoints)
        )
        self._shutdown = next((day for day in days if day), None)

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
        return await lacks_model(endpoint.url, self.model, endpoint.client)

    async def _open(self) -> Caller:
        if self._caller is None:
            key = self._key = find_key(self.name, self.settings)
            pool = Pool(self.settings.concurrency)
            remark = self.context.remark
            self._members = Membership(source_of(self.settings), pool, self._endpoint, self._unfit, remark)
            await self._members.first()
            self._pool = pool
            send = send_streamed if self.context.probing else send_whole
            self._caller = Caller(
                f"backend '{self.name}'",
                self.settings,
                self.builder,
                self.price,
                self._pool,
                Purse(self.context.budget),
                send,
                tuple(s for s in (key,) if s),
            )
        return self._caller

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Answer requests as the limits allow. Raises BackendStopped after all that was sent has been yielded."""
        caller = await self._open()
        caller.begin()
        if self.context.use_cache and not self.context.probing and self._cache is None:
            self._cache = AnswerCache(self.context.workspace.cache, self.model, self._scope())
        batching = self.settings.batch and not self.context.probing
        answers = self._batched(requests, state_dir) if batching else self._flowing(requests)
        try:
            async with contextlib.aclosing(answers):
                async for completion in answers:
                    yield completion
        finally:
            if self._cache is not None:
                self._cache.flush()
        if caller.stop is not None:
            raise caller.stop

    async def _flowing(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Completion, None]:
        most_open = 2 * self.settings.concurrency + OPEN_ROWS
        caller, members = await self._open(), self._members
        assert members is not None
        self._lag.start()
        if self.settings.fleet:
            members.start(self.settings.reread_s)
        try:
            answers = flow(requests, self._admit, self._perform, caller.stopped, most_open)
            async with contextlib.aclosing(answers):
                async for completion in answers:
                    yield completion
        finally:
            self._lag.stop()
            await members.stop()

    async def _batched(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncGenerator[Completion, None]:
        asked: dict[tuple[str, int], Request] = {}
        async for request in requests:
            kept = self._kept(request)
            if kept is not None:
                yield kept
            else:
                asked[(request.id, request.repeat)] = request
        answers = self._batches().stream(list(asked.values()), state_dir)
        async with contextlib.aclosing(answers):
            async for completion in answers:
                self._keep(asked[(completion.id, completion.repeat)], completion)
                yield completion

    def _batches(self) -> BatchCaller:
        caller, endpoint = self._caller, self._pool.endpoints[0] if self._pool else None
        assert caller is not None and endpoint is not None
        return BatchCaller(
            caller.where,
            self.settings,
            self.builder,
            self.price.batch() if self.price is not None else None,
            self.context.budget,
            endpoint.client,
            caller.clean,
            lambda done, total: self.context.progress(self.name, done, total),
        )

    def _kept(self, request: Request) -> Completion | None:
        """The answer from the cache, or None."""
        kept = self._cache.get(request.cache_key()) if self._cache is not None else None
        if kept is None:
            return None
        self._cached += 1
        return from_cache(request.id, request.repeat, kept, self.price.cost(kept.usage) if self.price else None)

    def _keep(self, request: Request, completion: Completion) -> None:
        """Put a whole answer into the cache."""
        if self._cache is not None and completion.error is None and completion.finish != "context_too_long":
            self._cache.put(request.cache_key(), completion)

    async def _admit(self, request: Request) -> Completion | Call | None:
        """The answer from the cache, or a call that may be sent now."""
        return self._kept(request) or await (await self._open()).admit(request)

    async def _perform(self, call: Call) -> Completion | None:
        completion = await (await self._open()).perform(call)
        if completion is not None:
            self._keep(call.request, completion)
        return completion

    def counters(self) -> dict[str, float]:
        """In flight at most, cached answers, the client's own lateness, and money that may be lost.

        client_bound is 1 where that lateness is above lag.SHARE of the servers' best latency: recorded
        latencies are then this machine's rather than the servers'.
        """
        if self._pool is None or self._caller is None or self._members is None:
            return {}
        best = min(e.window.best_latency for e in self._pool.endpoints)
        several = {
            "servers": float(len(self._pool.endpoints)),
            "servers_joined": float(self._members.joined),
            "servers_left": float(self._members.left),
        }
        return {
            "most_in_flight": float(self._pool.most_in_flight),
            "cached": float(self._cached),
            "client_lag_s": round(self._lag.mean, 6),
            "client_bound": float(self._lag.mean > SHARE * best),
            "maybe_billed_usd": self._caller.purse.maybe_billed,
            **(several if self.settings.fleet else {}),
        }

    async def aclose(self) -> None:
        """Close connections and the cache."""
        if self._pool is not None:
            await self._pool.aclose()
        if self._cache is not None:
            self._cache.close()
        self._pool = self._caller = self._members = self._cache = None


def _hosted_model(
    name: str, settings: OpenAISettings, task_name: str, context: RunContext
) -> tuple[str, str | None, float | None]:
    """The model id; where a hosted fine-tune is meant, the adapter it comes from and what its training cost."""
    if settings.adapter is None:
        return settings.model, None, None
    if settings.adapter == "auto":
        train = f"bench train --task {task_name} --recipe RECIPE --set model={settings.model}"
        folder = find_current(context.workspace, task_name, settings.model, train)
    else:
        folder = find_adapter(context.workspace, settings.adapter)
    manifest = read_manifest(folder)
    if manifest.model is None:
        raise UsageError(f"adapter {manifest.id} was trained here, not at a provider: use a backend of kind 'local'.")
    hosted = manifest.hosted
    if hosted is not None and settings.urls == (OPENAI_URL,) and hosted.base_url != OPENAI_URL:
        # Said, not done: an address out of a file must not decide where a key is sent.
        raise UsageError(
            f"backend '{name}': adapter {manifest.id} was tuned at {hosted.base_url}, not at OpenAI: set base_url and "
            f"api_key_env in [backends.{name}]."
        )
    return manifest.model, manifest.id, manifest.training_cost_usd
