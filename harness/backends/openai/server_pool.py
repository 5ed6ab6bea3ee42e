"""The pool of servers of one backend: discovery, membership, and choice of the least loaded server."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from harness.backends.openai.concurrency_window import ConcurrencyWindow
from harness.backends.openai.http_client import HttpClient
from harness.backends.openai.openai_settings import OpenAISettings, check_url
from harness.backends.openai.rate_limiter import RateLimiter
from harness.errors import UsageError
from harness.files import read_text

FIRST_REST_S, LONGEST_REST_S = 0.1, 30.0
"""How long a server rests after a connection error, where there are others: four times longer each time."""


class Endpoint:
    """One server."""

    def __init__(self, url: str, client: HttpClient, pacer: RateLimiter, window: ConcurrencyWindow) -> None:
        self.url = url
        self.client = client
        self.rate_limiter = pacer
        self.window = window
        self.in_flight = 0
        self.errors_in_a_row = 0
        self.cooldown_until = 0.0
        self.leaving = False

    @property
    def load(self) -> float:
        """Part of its window that is in use."""
        return self.in_flight / self.window.width

    def record_success(self) -> None:
        """It answered, whatever it said."""
        self.errors_in_a_row = 0
        self.cooldown_until = 0.0

    def record_failure(self, now: float) -> None:
        """It could not be reached: it rests, longer each time in a row, and is then tried with one request."""
        if now >= self.cooldown_until:
            self.cooldown_until = now + min(LONGEST_REST_S, FIRST_REST_S * 4**self.errors_in_a_row)
            self.errors_in_a_row += 1

    def accepts(self, now: float) -> bool:
        """Whether it may be sent a request."""
        limit = 1 if self.errors_in_a_row else self.window.width
        return self.cooldown_until <= now and self.in_flight < limit


class ServerPool:
    """Slots of all servers together. Rows that find none wait in line."""

    def __init__(self, ceiling: int) -> None:
        self.endpoints: list[Endpoint] = []
        self.ceiling = ceiling
        self.in_flight = 0
        self.most_in_flight = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._leaving: set[Endpoint] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def add(self, endpoint: Endpoint) -> None:
        """One server more."""
        self.endpoints.append(endpoint)
        self.wake()

    def remove(self, url: str) -> None:
        """One server less: it gets no more requests, and requests in flight may finish."""
        for endpoint in [e for e in self.endpoints if e.url == url]:
            self.endpoints.remove(endpoint)
            self._leaving.add(endpoint)
            endpoint.leaving = True
            self._close_later(endpoint)

    def endpoints_of(self, urls: Iterable[str]) -> list[Endpoint]:
        """Those of the servers that are here."""
        wanted = set(urls)
        return [e for e in self.endpoints if e.url in wanted]

    def _close_later(self, endpoint: Endpoint) -> None:
        """Close the connections of a server that leaves, once nothing is in flight there."""
        if endpoint in self._leaving and not endpoint.in_flight:
            self._leaving.discard(endpoint)
            task = asyncio.get_running_loop().create_task(endpoint.client.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all connections."""
        for endpoint in (*self.endpoints, *self._leaving):
            await endpoint.client.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def acquire(self, prompt_bytes: int, answer_tokens: int, stopped: Callable[[], bool]) -> Endpoint | None:
        """A slot where it is soonest a request's turn; None where `stopped()` became true meanwhile."""
        while not stopped():
            endpoint = self._free(prompt_bytes, answer_tokens) if not self._waiters else None
            if endpoint is None:
                await self._wait()
                endpoint = self._free(prompt_bytes, answer_tokens)
            if endpoint is not None:
                endpoint.in_flight += 1
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                return endpoint
        return None

    async def _wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        try:
            # A resting server comes back by the clock, not by a release: look again now and then.
            await (asyncio.wait_for(future, 0.5) if self._any_cooling_down() else future)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if future.done():  # it was this row's turn: the next one's now
                self.wake(1)
            raise

    def _any_cooling_down(self) -> bool:
        return any(e.cooldown_until for e in self.endpoints)

    def _free(self, prompt_bytes: int, answer_tokens: int) -> Endpoint | None:
        if self.in_flight >= self.ceiling:
            return None
        if len(self.endpoints) == 1:
            only = self.endpoints[0]
            return only if only.in_flight < only.window.width else None
        now = time.monotonic()
        open_ones = [e for e in self.endpoints if e.accepts(now)]
        if not open_ones:
            if any(e.cooldown_until <= now for e in self.endpoints):
                return None
            open_ones = [min(self.endpoints, key=lambda e: e.cooldown_until)]  # all rest: try the one nearest its end
        waits = {
            e.url: e.rate_limiter.wait(e.rate_limiter.estimate(prompt_bytes, answer_tokens), now) for e in open_ones
        }
        return min(open_ones, key=lambda e: (waits[e.url], e.load))

    def release(self, endpoint: Endpoint) -> None:
        """Give a slot back and let the next in line look."""
        endpoint.in_flight -= 1
        self.in_flight -= 1
        self._close_later(endpoint)
        self.wake(max(1, endpoint.window.width - endpoint.in_flight))

    def wake(self, limit: int | None = None) -> None:
        """Let rows in line look again (all of them: when the backend stops)."""
        woken = 0
        while self._waiters and (limit is None or woken < limit):
            future = self._waiters.popleft()
            if not future.done():
                future.set_result(None)
                woken += 1


class ServerSource(Protocol):
    """Where the list of servers comes from."""

    def read(self) -> tuple[str, ...] | None:
        """The servers' URLs now, each once; None where nothing has changed since. Raises UsageError."""
        ...


class StaticServers:
    """The servers that the settings name."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls: tuple[str, ...] | None = urls

    def read(self) -> tuple[str, ...] | None:
        """All of them, once."""
        urls, self._urls = self._urls, None
        return urls


class ServerFile:
    """A file with one URL a line; `#` begins a comment. Read again when its time or size changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None

    def read(self) -> tuple[str, ...] | None:
        """Raises UsageError with file and line for what is no URL, and for a file without any."""
        try:
            stat = self.path.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._seen:
                return None
            text = read_text(self.path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"base_url_file {self.path} cannot be read ({reason}).") from None
        self._seen = (stat.st_mtime_ns, stat.st_size)
        found: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            url = line.partition("#")[0].strip().rstrip("/")
            if not url:
                continue
            check_url(url, f"{self.path}:{number}")
            if url in found:
                raise UsageError(f"{self.path}:{number}: {url} is queued {found[url]} already.")
            found[url] = number
        if not found:
            raise UsageError(f"{self.path} names no server: write one URL a line, like http://gpu1:8000/v1.")
        return tuple(found)


class DnsServers:
    """Every address that a host name has in DNS: a headless service of Kubernetes, a round-robin name."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._last: tuple[str, ...] | None = None

    def read(self) -> tuple[str, ...] | None:
        """Raises UsageError for a name that DNS does not know."""
        parts = urlsplit(self.url)
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UsageError(f"base_url {self.url}: its host has no address ({error.strerror or error}).") from None
        hosts = sorted({str(entry[4][0]) for entry in found})
        netlocs = [f"[{host}]" if ":" in host else host for host in hosts]
        port = f":{parts.port}" if parts.port else ""
        urls = tuple(urlunsplit(parts._replace(netloc=f"{netloc}{port}")) for netloc in netlocs)
        if urls == self._last:
            return None
        self._last = urls
        return urls


def source_of(settings: OpenAISettings) -> ServerSource:
    """The source that the settings name."""
    if settings.base_url_file is not None:
        return ServerFile(Path(settings.base_url_file).expanduser())
    if settings.base_url_dns:
        return DnsServers(settings.urls[0])
    return StaticServers(settings.urls)


class ServerDiscovery:
    """Keeps a pool's servers to those of a source.

    make: an endpoint for a URL. unfit: why a server that is new may not join, None where it may. remark: called with
    who comes and goes, and what is wrong with the source (the last good list then stays in force).
    """

    def __init__(
        self,
        source: ServerSource,
        pool: ServerPool,
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
        self._remarked: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self.joined = self.left = 0

    async def discover(self) -> None:
        """The servers at the start. Raises UsageError for a bad source, and where no server is fit."""
        await self._read()
        reasons = await self._apply()
        if not self._pool.endpoints:
            raise UsageError(next(iter(reasons), "there is no server left."))
        for reason in reasons:
            self._remark_once(reason)

    async def refresh(self) -> None:
        """Once more: who is new, who is gone."""
        try:
            await self._read()
        except UsageError as error:
            self._remark_once(f"{error} Keeping the previous server list.")
            return
        before = {e.url for e in self._pool.endpoints}
        for reason in await self._apply():
            self._remark_once(reason)
        after = {e.url for e in self._pool.endpoints}
        self.joined += len(after - before)
        self.left += len(before - after)
        for what, urls in (("joined", after - before), ("left", before - after)):
            for url in sorted(urls):
                self._remarked = {message for message in self._remarked if url not in message}
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
            await self.refresh()

    async def _apply(self) -> list[str]:
        """Let the new in and the others go; the reasons of those that may not come in."""
        listed = {e.url for e in self._pool.endpoints}
        new = [self._make(url) for url in self._wanted if url not in listed]
        reasons = await asyncio.gather(*map(self._unfit, new))
        for endpoint, reason in zip(new, reasons, strict=True):
            if reason is None:
                self._pool.add(endpoint)
            else:
                await endpoint.client.close()
        if self._pool.endpoints_of(self._wanted):  # never without any: a pool of the unfit leaves all as it was
            for url in listed - set(self._wanted):
                self._pool.remove(url)
        return _told(reasons)

    def _remark_once(self, text: str) -> None:
        """The same thing is said once."""
        if text not in self._remarked:
            self._remarked.add(text)
            self._remark(text)


def _told(reasons: Iterable[str | None]) -> list[str]:
    return [reason for reason in reasons if reason is not None]
