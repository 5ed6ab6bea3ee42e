"""Rows in windows: what is sorted by length, batched and handed out together."""

from collections.abc import AsyncIterator

from harness.records import Request


async def windows(requests: AsyncIterator[Request], size: int) -> AsyncIterator[list[Request]]:
    """Runs of `size` requests in their order; the last one may be shorter."""
    window: list[Request] = []
    async for request in requests:
        window.append(request)
        if len(window) >= size:
            yield window
            window = []
    if window:
        yield window
