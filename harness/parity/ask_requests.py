"""Answers of one backend to requests outside of a run: what is asked again to look for a fault."""

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.backend import RunContext, RunRequirements
from harness.errors import BackendStopped, BenchError
from harness.execution.backend_setup import make_backends
from harness.records import Completion, Request


async def ask_requests(
    tables: Mapping[str, dict[str, Any]], task: str, context: RunContext, requests: Sequence[Request]
) -> list[Completion]:
    """What one backend answers to requests outside of a run. Raises BenchError where it cannot be asked."""
    (backend,) = make_backends(tables, task, context).values()

    async def each() -> AsyncIterator[Request]:
        for request in requests:
            yield request

    found: list[Completion] = []
    first = requests[0]
    try:
        await backend.check(
            RunRequirements(
                task=task,
                rows=len(requests),
                labels=first.labels,
                schema=first.schema,
                max_tokens=max(r.max_tokens for r in requests),
                messages=first.messages,
            )
        )
        with tempfile.TemporaryDirectory() as state:
            try:
                async for answer in backend.stream(each(), Path(state)):
                    found.append(answer)  # noqa: PERF401  (what came before a stop is kept)
            except BackendStopped as stop:
                if not found:
                    raise BenchError(str(stop)) from None
    finally:
        await backend.aclose()
    return found
