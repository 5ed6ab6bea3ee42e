"""One prompt, several backends, side by side: no task, no reference, no run directory."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from harness.backend import Backend, Needs
from harness.errors import BackendStopped
from harness.identity import Identity
from harness.records import Completion, Failure, Record, Request


class Reply(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What one backend said."""

    backend: str
    identity: Identity
    completion: Completion


async def ask_all(backends: dict[str, Backend], request: Request) -> list[Reply]:
    """Check all backends, then ask them at the same time; one that stops does not keep the others.

    Raises UsageError before anything is sent.
    """
    needs = Needs(
        task="",
        rows=1,
        labels=request.labels,
        schema=request.schema,
        max_tokens=request.max_tokens,
        messages=request.messages,
    )
    try:
        for backend in backends.values():
            await backend.check(needs)
        return list(await asyncio.gather(*(_ask(name, backend, request) for name, backend in backends.items())))
    finally:
        for backend in backends.values():
            await backend.aclose()


async def _ask(name: str, backend: Backend, request: Request) -> Reply:
    async def only() -> AsyncIterator[Request]:
        yield request

    completion = Completion(id=request.id, error=Failure(kind="no answer", message="the backend gave no answer"))
    with tempfile.TemporaryDirectory() as folder:
        try:
            async for answer in backend.stream(only(), Path(folder)):
                completion = answer
        except BackendStopped as stop:
            completion = Completion(id=request.id, error=Failure(kind=stop.kind, message=str(stop)))
    return Reply(backend=name, identity=backend.identity(), completion=completion)
