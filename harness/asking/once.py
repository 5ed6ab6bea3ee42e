"""One prompt, several backends, side by side: no task, no reference, no run directory."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from harness.backend import Backend, Needs
from harness.errors import BackendStopped, UnreachableError
from harness.identity import Identity
from harness.records import Completion, Failure, Record, Request


class Reply(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What one backend said."""

    backend: str
    identity: Identity
    completion: Completion


async def ask_all(backends: dict[str, Backend], request: Request) -> list[Reply]:
    """Check all backends, then ask them at the same time; one that stops, or cannot be reached, does not keep the
    others from answering.

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
        down = await _unreachable(backends, needs)
        return list(
            await asyncio.gather(*(_ask(name, backend, request, down.get(name)) for name, backend in backends.items()))
        )
    finally:
        for backend in backends.values():
            await backend.aclose()


async def _unreachable(backends: dict[str, Backend], needs: Needs) -> dict[str, UnreachableError]:
    """Check all; the backends whose server cannot be reached, where others' can."""
    down = {}
    for name, backend in backends.items():
        try:
            await backend.check(needs)
        except UnreachableError as error:
            down[name] = error
    if down and len(down) == len(backends):
        raise next(iter(down.values()))
    return down


async def _ask(name: str, backend: Backend, request: Request, down: UnreachableError | None) -> Reply:
    async def only() -> AsyncIterator[Request]:
        yield request

    completion = Completion(id=request.id, error=Failure(kind="no answer", message="the backend gave no answer"))
    if down is not None:
        completion = Completion(id=request.id, error=Failure(kind="connection", message=str(down)))
        return Reply(backend=name, identity=backend.identity(), completion=completion)
    with tempfile.TemporaryDirectory() as folder:
        try:
            async for answer in backend.stream(only(), Path(folder)):
                completion = answer
        except BackendStopped as stop:
            completion = Completion(id=request.id, error=Failure(kind=stop.kind, message=str(stop)))
    return Reply(backend=name, identity=backend.identity(), completion=completion)
