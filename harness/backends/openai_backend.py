"""The openai backend: GPT models and every OpenAI-compatible server."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.adapter_manifest import find_adapter, find_current, read_manifest
from harness.backend import Capabilities, OptionTarget, RunContext, RunRequirements
from harness.backends.answer_cache import AnswerCache, from_cache
from harness.backends.openai.early_check import check_listed, refuse_unreachable
from harness.backends.openai.openai_settings import OPENAI_URL, OpenAISettings, check_settings, find_key, sent_values
from harness.backends.openai.request_body import BodyBuilder, family_of
from harness.backends.openai.token_usage import list_cost
from harness.errors import UsageError
from harness.money.prices import Price, price_table
from harness.records import BackendIdentity, Completion, Decode, Request, Usage

if TYPE_CHECKING:
    from harness.backends.openai.connection import ServerConnection
    from harness.backends.openai.in_flight_request import InFlightRequest


class OpenAIBackend:
    """Chat completions through the official async client. harness/backends/openai has its parts."""

    Settings = OpenAISettings
    capabilities = Capabilities(
        options={"batch": OptionTarget(setting="batch")},
        resume_from_settings=frozenset(
            {"rpm", "tpm", "concurrency", "timeout_s", "deadline_s", "max_attempts", "poll_s", "proxy", "reread_s"}
        ),
    )

    def __init__(self, name: str, settings: OpenAISettings, task_name: str, context: RunContext) -> None:
        check_settings(name, settings)
        self.name = name
        self.settings = settings
        self.context = context
        self.decode: Decode = "generate" if settings.decode == "auto" else settings.decode
        self.model, self.adapter, self._training_usd = _hosted_model(name, settings, task_name, context)
        self.family = family_of(self.model)
        self.price = settings.price or self._listed_price()
        self.builder = BodyBuilder(
            name, settings, self.model, self.decode, self.family, stream=context.probing and self.decode != "head"
        )
        self._connection: ServerConnection | None = None
        self._cache: AnswerCache | None = None
        self._cached = 0
        self._shutdown: str | None = None

    @property
    def _batching(self) -> bool:
        return self.settings.batch and not self.context.probing

    @property
    def _asking_price(self) -> Price | None:
        """The price of an answer as it is asked for here: in a batch, or at once."""
        return self.price.batch() if self._batching and self.price is not None else self.price

    def _listed_price(self) -> Price | None:
        """The table's price of this very model id; gateways and Azure charge what OpenAI charges."""
        listed = price_table().find(self.model)
        return listed.price if listed is not None else None

    def identity(self) -> BackendIdentity:
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
        return BackendIdentity(
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
        headers = self.settings.extra_headers  # a gateway may choose the model by them; as written, without secrets
        return [self.model, servers, azure, self.decode, self.builder.facts(), *([headers] if headers else [])]

    async def reach(self) -> None:
        """Key, living model, and a server that answers; once in a run. Raises UsageError with address and cause."""
        reached = (OpenAIBackend, self.name)
        if reached not in self.context.shared:
            check_listed(self.name, self.model, self.settings)
            sent_values(self.name, self.settings, find_key(self.name, self.settings))
            if self.settings.proxy is None and not self.settings.base_url_dns:
                refuse_unreachable(f"backend '{self.name}'", self.settings.urls)
            self.context.shared[reached] = await (await self._open()).shutdown_day()
        self._shutdown = self.context.shared[reached]

    async def check(self, requirements: RunRequirements) -> None:
        """What the task needs, and what `reach` looks for. Raises UsageError before anything is paid."""
        label = f"[backends.{self.name}]"
        if self.decode == "json":
            if not self.family.schema:
                raise UsageError(f'{label}: {self.model} takes no JSON schema; use decode = "generate".')
            if not requirements.schema and not requirements.labels:
                raise UsageError(f'{label}: decode = "json" needs a task with a schema or labels.')
        if self.decode == "head" and not requirements.labels:
            raise UsageError(f'{label}: decode = "head" needs a task with labels; use decode = "generate".')
        if self.decode == "head" and (self.settings.batch or self.settings.azure):
            raise UsageError(f'{label}: decode = "head" works neither with batch = true nor with azure.')
        if self.settings.batch and (self.settings.azure or len(self.settings.urls) > 1):
            raise UsageError(f"{label}: batch = true works with one base_url, and not with azure.")
        if self.context.budget.ceiling is not None:
            self._check_bounded(label)
        await self.reach()

    def _check_bounded(self, label: str) -> None:
        """A cost limit that is never passed needs to know the most that an answer can cost."""
        if self._asking_price is None:
            raise UsageError(
                f"{label}: the {'batch ' if self._batching else ''}price of {self.model} is unknown, so "
                f"--max-cost cannot be kept: give price = {{ input = .., output = .. }} (USD per million tokens; "
                f"for batches batch_input and batch_output too), or run without --max-cost."
            )
        reason = self.builder.why_unbounded()
        if reason is not None:
            raise UsageError(f"{label}: {reason}: --max-cost cannot be kept; change that, or run without --max-cost.")

    async def _open(self) -> "ServerConnection":
        if self._connection is None:
            from harness.backends.openai.connection import (
                ServerConnection,  # brings the client: a second of imports, for those that ask
            )

            connection = ServerConnection(self.name, self.settings, self.builder, self.price, self.context)
            await connection.open()
            self._connection = connection
        if self.context.use_cache and not self.context.probing and self._cache is None:
            self._cache = AnswerCache(self.context.workspace.cache, self.model, self._scope(), self.context.remark)
        return self._connection

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Answer requests as the limits allow. Raises BackendStopped after all that was sent has been yielded."""
        connection = await self._open()
        connection.executor.reset()
        answers = (
            self._batched(connection, requests, state_dir)
            if self._batching
            else connection.stream(requests, self._admit, self._perform)
        )
        try:
            async with contextlib.aclosing(answers):
                async for completion in answers:
                    yield completion
        finally:
            if self._cache is not None:
                self._cache.flush()
        if connection.executor.stop is not None:
            raise connection.executor.stop

    async def _batched(
        self, connection: "ServerConnection", requests: AsyncIterator[Request], state_dir: Path
    ) -> AsyncGenerator[Completion, None]:
        pending: dict[tuple[str, int], Request] = {}
        async for request in requests:
            cached = self._cached_answer(request)
            if cached is not None:
                yield cached
            else:
                pending[(request.id, request.repeat)] = request
        answers = connection.batch_executor(self._asking_price).stream(list(pending.values()), state_dir)
        async with contextlib.aclosing(answers):
            async for completion in answers:
                self._store(pending[(completion.id, completion.repeat)], completion)
                yield completion

    def _cached_answer(self, request: Request) -> Completion | None:
        """The answer from the cache, or None."""
        cached = self._cache.get(request.cache_key()) if self._cache is not None else None
        if cached is None:
            return None
        self._cached += 1
        usage = cached.usage if cached.usage != Usage() else None  # the server never said
        tier = None if self._batching else cached.notes.get("service_tier")
        return from_cache(request.id, request.repeat, cached, list_cost(self._asking_price, usage, tier))

    def _store(self, request: Request, completion: Completion) -> None:
        """Put a whole answer into the cache."""
        if self._cache is not None:
            self._cache.put(request.cache_key(), completion)

    async def _admit(self, request: Request) -> "Completion | InFlightRequest | None":
        """The answer from the cache, or a call that may be sent now."""
        return self._cached_answer(request) or await (await self._open()).executor.admit(request)

    async def _perform(self, call: "InFlightRequest") -> Completion | None:
        completion = await (await self._open()).executor.perform(call)
        if completion is not None:
            self._store(call.request, completion)
        return completion

    def counters(self) -> dict[str, float]:
        """Cached answers, and what the service says of its work (harness/backends/openai/connection.py)."""
        return {**self._connection.counters(), "cached": float(self._cached)} if self._connection is not None else {}

    async def aclose(self) -> None:
        """Close connections and the cache."""
        if self._connection is not None:
            await self._connection.aclose()
        if self._cache is not None:
            self._cache.close()
        self._connection = self._cache = None


def _hosted_model(
    name: str, settings: OpenAISettings, task_name: str, context: RunContext
) -> tuple[str, str | None, float | None]:
    """The model id; where a hosted fine-tune is meant, the adapter it comes from and what its training cost."""
    if settings.adapter is None:
        return settings.model, None, None
    if settings.adapter == "auto":
        train = f"bench train --task {context.task or task_name} --recipe RECIPE --set model={settings.model}"
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
