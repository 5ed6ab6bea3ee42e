"""Servers join and leave while a run goes on: the pool is kept to what the source says, looked at now and then."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from harness.api.endpoints import Endpoint, Pool
from harness.api.fleet import Source
from harness.errors import UsageError


class Membership:
    """Keeps a pool's servers to those of a source.

    make: an endpoint for a URL. unfit: why a server that is new may not join, None where it may. remark: told who
    comes and goes, and what is wrong with the source (the last good list then stays in force).
    """

    def __init__(
        self,
        source: Source,
        pool: Pool,
        make: Callable[[str], Endpoint],
        unfit: Callable[[Endpoint], Awaitable[str | None]],
        remark: Callable[[str], None],
    ) -> None:
        self._source = source
        self._pool = pool
        self._make = make
        self._unfit = unfit
        self._remark = remark
        self._wanted: tuple[str, ...] = ()
        self._said: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self.joined = self.left = 0

    async def first(self) -> None:
        """The servers at the start. Raises UsageError for a bad source, and where no server is fit."""
        await self._read()
        reasons = await self._settle()
        if not self._pool.endpoints:
            raise UsageError(next(iter(reasons), "there is no server to ask."))
        for reason in reasons:
            self._say(reason)

    async def look(self) -> None:
        """Once more: who is new, who is gone."""
        try:
            await self._read()
        except UsageError as error:
            self._say(f"{error} The servers stay those of before.")
            return
        before = {e.url for e in self._pool.endpoints}
        for reason in await self._settle():
            self._say(reason)
        after = {e.url for e in self._pool.endpoints}
        self.joined += len(after - before)
        self.left += len(before - after)
        for what, urls in (("joined", after - before), ("left", before - after)):
            for url in sorted(urls):
                self._said = {said for said in self._said if url not in said}
                self._remark(f"{url} {what}: {len(after)} servers")

    def start(self, every_s: float) -> None:
        """Look every so often, until `stop`."""
        self._task = asyncio.create_task(self._watch(every_s))

    async def stop(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _read(self) -> None:
        urls = await asyncio.to_thread(self._source.read)
        if urls is not None:
            self._wanted = urls

    async def _watch(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def _settle(self) -> list[str]:
        """Let the new in and the others go; the reasons of those that may not come in."""
        here = {e.url for e in self._pool.endpoints}
        new = [self._make(url) for url in self._wanted if url not in here]
        reasons = await asyncio.gather(*map(self._unfit, new))
        for endpoint, reason in zip(new, reasons, strict=True):
            if reason is None:
                self._pool.join(endpoint)
            else:
                await endpoint.client.close()
        if self._pool.endpoints_of(self._wanted):  # never without any: a fleet of the unfit leaves all as it was
            for url in here - set(self._wanted):
                self._pool.leave(url)
        return _told(reasons)

    def _say(self, text: str) -> None:
        """The same thing is said once."""
        if text not in self._said:
            self._said.add(text)
            self._remark(text)


def _told(reasons: Iterable[str | None]) -> list[str]:
    return [reason for reason in reasons if reason is not None]
