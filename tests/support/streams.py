"""Requests as the runner hands them to a backend."""

from collections.abc import AsyncIterator, Iterable

from harness.records import Request


async def each(requests: Iterable[Request]) -> AsyncIterator[Request]:
    """One by one, as the backend takes them."""
    for request in requests:
        yield request
