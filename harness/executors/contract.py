"""What a local backend asks of the place where its model runs."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from harness.local.orders import BaseFacts, Work
from harness.records import Completion, Request


class Executor(Protocol):
    """A place where a base model runs. `find`, then `open`, then `stream` as often as wanted, then `aclose`."""

    async def find(self) -> BaseFacts:
        """Find the base where it will run; no weights are loaded yet. Raises UsageError."""
        ...

    async def open(self, work: Work, rows: int) -> None:
        """Make ready to answer about `rows` rows in this way. Raises UsageError for what cannot work there."""
        ...

    def stream(self, requests: AsyncIterator[Request]) -> AsyncIterator[Completion]:
        """Answer requests in any order, each exactly once. Raises BackendStopped."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the place itself; empty for this process."""
        ...

    def counters(self) -> dict[str, float]:
        """What the work amounted to so far."""
        ...

    async def aclose(self) -> None:
        """Give the place back. Safe to call twice."""
        ...
