"""The openai backend: GPT models and every OpenAI-compatible server."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from harness.adapter import find_adapter, find_current, read_manifest
from harness.api.body import BodyBuilder
from harness.api.caller import Call, Caller
from harness.api.capabilities import family_of
from harness.api.client import find_key, make_client, send_streamed, send_whole
from harness.api.endpoints import Endpoint, Pool
from harness.api.flow import flow
from harness.api.lag import SHARE, Lag
from harness.api.models import check_living
from harness.api.money import Purse
from harness.api.pacing import Pacer
from harness.api.settings import OpenAISettings, check_settings
from harness.api.window import Window
from harness.backend import Needs, RunContext
from harness.cache import AnswerCache, from_cache
from harness.errors import UsageError
from harness.identity import Identity
from harness.prices import Price, price_table
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
        self.model, self.adapter = _hosted_model(settings, task_name, context)
        self.family = family_of(self.model)
        self.price = settings.price or self._listed_price()
        self.builder = BodyBuilder(name, settings, self.model, self.decode, self.family)
        self._pool: Pool | None = None
        self._caller: Caller | None = None
        self._cache: AnswerCache | None = None
        self._cached = 0
        self._lag = Lag()

    def _listed_price(self) -> Price | None:
        """The table's price; only OpenAI's own (and Azure's equal) prices are listed."""
        listed = price_table().find(self.model) if self.settings.at_openai or self.settings.azure else None
        return listed.price if listed is not None else None

    def identity(self) -> Identity:
        """What answers: model, decode, price, servers and limits; never a key."""
        listed = price_table().find(self.model) if self.settings.at_openai else None
        settings = {
            "base_url": list(self.settings.urls),
            "concurrency": self.settings.concurrency,
            **self.builder.facts(),
        }
        for key in ("rpm", "tpm", "azure", "batch"):
            value = getattr(self.settings, key)
            if value:
                settings[key] = msgspec.to_builtins(value)
        return Identity(
            kind="openai",
            model=self.model,
            decode=self.decode,
            adapter=self.adapter,
            price=msgspec.to_builtins(self.price) if self.price is not None else None,
            retired=listed.shutdown if listed is not None else None,
            settings=settings,
        )

    def _scope(self) -> list[Any]:
        """All that shapes an answer beyond the request: the cache key's own part."""
        azure = msgspec.to_builtins(self.settings.azure)
        return [self.model, sorted(self.settings.urls), azure, self.decode, self.builder.facts()]

    async def check(self, needs: Needs) -> None:
        """Key, living model, and what the task needs. Raises UsageError before anything is paid."""
        where = f"[backends.{self.name}]"
        check_living(self.name, self.model, self.settings)
        if self.decode == "json":
            if not self.family.schema:
                raise UsageError(f'{where}: {self.model} takes no JSON schema; use decode = "generate".')
            if not needs.schema and not needs.labels:
                raise UsageError(f'{where}: decode = "json" needs a task with a schema or labels.')
        if self.context.budget.ceiling is not None and self.price is None:
            raise UsageError(
                f"{where}: the price of {self.model} is unknown, so --max-cost cannot be kept: give "
                f"price = {{ input = .., output = .. }} (USD per million tokens), or run without --max-cost."
            )
        self._open()

    def _open(self) -> Caller:
        if self._caller is None:
            key = find_key(self.name, self.settings)
            endpoints = [
                Endpoint(
                    url,
                    make_client(self.name, self.settings, url, key),
                    Pacer(self.settings.rpm, self.settings.tpm),
                    Window(self.settings.concurrency, self._lag),
                )
                for url in self.settings.urls
            ]
            self._pool = Pool(endpoints, self.settings.concurrency)
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
        caller = self._open()
        caller.stop = None
        if self.context.use_cache and not self.context.probing and self._cache is None:
            self._cache = AnswerCache(self.context.workspace.cache, self.model, self._scope())
        self._lag.start()
        most_open = 2 * self.settings.concurrency + OPEN_ROWS
        try:
            async for completion in flow(requests, self._admit, self._perform, caller.stopped, most_open):
                yield completion
        finally:
            self._lag.stop()
            if self._cache is not None:
                self._cache.flush()
        if caller.stop is not None:
            raise caller.stop

    async def _admit(self, request: Request) -> Completion | Call | None:
        """The answer from the cache, or a call that may be sent now."""
        kept = self._cache.get(request.cache_key()) if self._cache is not None else None
        if kept is None:
            return await self._open().admit(request)
        self._cached += 1
        return from_cache(request.id, request.repeat, kept, self.price.cost(kept.usage) if self.price else None)

    async def _perform(self, call: Call) -> Completion | None:
        completion = await self._open().perform(call)
        if self._cache is not None and completion is not None and completion.error is None and completion.attempts:
            self._cache.put(call.request.cache_key(), completion)
        return completion

    def counters(self) -> dict[str, float]:
        """In flight at most, cached answers, the client's own lateness, and money that may be lost.

        client_bound is 1 where that lateness is above lag.SHARE of the servers' best latency: recorded
        latencies are then this machine's rather than the servers'.
        """
        if self._pool is None or self._caller is None:
            return {}
        best = min(e.window.best_latency for e in self._pool.endpoints)
        return {
            "most_in_flight": float(self._pool.most_in_flight),
            "cached": float(self._cached),
            "client_lag_s": round(self._lag.mean, 6),
            "client_bound": float(self._lag.mean > SHARE * best),
            "maybe_billed_usd": self._caller.purse.maybe_billed,
        }

    async def aclose(self) -> None:
        """Close connections and the cache."""
        if self._pool is not None:
            for endpoint in self._pool.endpoints:
                await endpoint.client.close()
        if self._cache is not None:
            self._cache.close()
        self._pool = self._caller = self._cache = None


def _hosted_model(settings: OpenAISettings, task_name: str, context: RunContext) -> tuple[str, str | None]:
    """The model id, and the adapter it comes from where a hosted fine-tune is meant."""
    if settings.adapter is None:
        return settings.model, None
    if settings.adapter == "auto":
        folder = find_current(context.workspace, task_name, settings.model)
    else:
        folder = find_adapter(context.workspace, settings.adapter)
    manifest = read_manifest(folder)
    if manifest.model is None:
        raise UsageError(f"adapter {manifest.id} was trained here, not at a provider: use a backend of kind 'local'.")
    return manifest.model, manifest.id
