"""How the tests of this package send requests: a backend from a table, rows from words, answers in a list."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from harness.backend import RunContext, RunRequirements
from harness.backends.openai_backend import OpenAIBackend
from harness.errors import BackendStopped
from harness.money.prices import Budget
from harness.records import Completion, Message, Request
from harness.settings import decode_table
from harness.workspace import Workspace
from tests.support.streams import each

LABELS = ("World", "Sports", "Business", "Sci/Tech")
PRICE = {"input": 1.0, "output": 4.0, "cached_input": 0.5, "batch_input": 0.5, "batch_output": 2.0}


def row(name: str, **fields: Any) -> Request:
    """A request whose prompt is its name."""
    asked: dict[str, Any] = {"labels": LABELS, "max_tokens": 8} | fields
    return Request(id=name, messages=(Message(role="user", content=f"prompt {name}"),), **asked)


def rows(count: int) -> list[Request]:
    """`count` different requests."""
    return [row(f"r{n}") for n in range(count)]


async def held(requests: Iterable[Request], first: int, until: threading.Thread) -> AsyncIterator[Request]:
    """Requests, of which all but the `first` ones come when a thread has done its work."""
    for n, request in enumerate(requests):
        while n == first and until.is_alive():
            await asyncio.sleep(0.01)
        yield request


class Asked:
    """What came of asking: completions in order of arrival, the stop if there was one, the counters."""

    def __init__(self) -> None:
        self.completions: list[Completion] = []
        self.stop: BackendStopped | None = None
        self.counters: dict[str, float] = {}

    @property
    def by_id(self) -> dict[str, Completion]:
        return {c.id: c for c in self.completions}

    @property
    def errors(self) -> dict[str, int]:
        """Infrastructure errors by kind."""
        kinds = [c.error.kind for c in self.completions if c.error]
        return {kind: kinds.count(kind) for kind in kinds}

    @property
    def incurred(self) -> float:
        return sum(c.cost.incurred or 0.0 for c in self.completions)


def make(url: str, folder: Path, *, context: RunContext | None = None, **settings: Any) -> OpenAIBackend:
    """A backend as `[backends.api]` would make it."""
    table = {"kind": "openai", "model": "m", "base_url": url, "price": PRICE, "timeout_s": 60.0} | settings
    table = {k: v for k, v in table.items() if v is not None}
    context = context or RunContext(Workspace(folder), use_cache=False)
    return OpenAIBackend("api", decode_table(table, OpenAIBackend.Settings, "[backends.api]"), "news", context)


def ask(
    url: str,
    folder: Path,
    requests: Iterable[Request],
    *,
    max_cost: float | None = None,
    use_cache: bool = False,
    probing: bool = False,
    hold: tuple[int, threading.Thread] | None = None,
    **settings: Any,
) -> Asked:
    """Check a backend and ask it everything (`hold`: see `held`)."""
    context = RunContext(Workspace(folder), budget=Budget(ceiling=max_cost), use_cache=use_cache, probing=probing)
    requests = list(requests)
    asked = Asked()

    async def go() -> None:
        backend = make(url, folder, context=context, **settings)
        first = requests[0]
        try:
            await backend.check(
                RunRequirements(task="news", rows=len(requests), labels=first.labels, schema=first.schema)
            )
            stream = backend.stream(held(requests, *hold) if hold else each(requests), folder)
            async for completion in stream:
                asked.completions.append(completion)
        except BackendStopped as stop:
            asked.stop = stop
        finally:
            asked.counters = backend.counters()
            await backend.aclose()

    asyncio.run(go())
    return asked
