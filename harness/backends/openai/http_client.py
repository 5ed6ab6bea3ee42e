"""The HTTP client of one OpenAI-compatible server: a body in, the answer's bytes out, over aiohttp.

Rows are sent through it and not through the official client: importing that one, with its 900 modules of types, costs
more than a short run, and its answer objects as much as the call. Files, batches and jobs go through `sdk_client`.
"""

import contextlib
import os
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp

from harness.backends.openai.early_check import LOOPBACK
from harness.backends.openai.openai_settings import OpenAISettings, sent_values
from harness.errors import UsageError

MOST_CONNECTIONS = 10_000
KEEP_ALIVE_S = 60.0
ACCOUNT_HEADERS = {"OPENAI_ORG_ID": "OpenAI-Organization", "OPENAI_PROJECT_ID": "OpenAI-Project"}
"""Environment variables that the official client sends as headers, whatever the server."""
AGENT = "bench-harness"


class StatusError(Exception):
    """An answer with another status than 2xx."""

    def __init__(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.content = content
        self.headers = headers


class HttpAnswer(NamedTuple):
    """A whole 2xx answer."""

    content: bytes
    headers: Mapping[str, str]


class HttpClient:
    """Connections to one server. No retries, no redirects (they could carry keys elsewhere), no cookies.

    base_url: the calls' paths are appended to it. headers: sent with each call. query: appended to each URL.
    timeout_s: for a connection, and between two pieces of an answer. proxy: URL of an HTTP proxy, or None.

    All calls raise StatusError, aiohttp.ClientError (which some time-outs are) and TimeoutError.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        timeout_s: float,
        *,
        proxy: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url = base_url
        self._headers = {"Accept": "application/json", "User-Agent": AGENT, **headers}
        self._timeout_s = timeout_s
        self._proxy = proxy
        self._query = query
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, timeout_s: float | None = None) -> HttpAnswer:
        """Get a path below the base URL, or a whole URL."""
        async with self._request("GET", path, None, timeout_s) as response:
            return HttpAnswer(await response.read(), response.headers)

    async def post(self, path: str, body: bytes, timeout_s: float | None = None) -> HttpAnswer:
        """Post JSON and read the whole answer."""
        async with self._request("POST", path, body, timeout_s) as response:
            return HttpAnswer(await response.read(), response.headers)

    @contextlib.asynccontextmanager
    async def stream(self, path: str, body: bytes) -> AsyncIterator[tuple[AsyncIterator[bytes], Mapping[str, str]]]:
        """Post JSON; the pieces of the answer as they arrive, and its headers."""
        async with self._request("POST", path, body, None) as response:
            yield response.content.iter_any(), response.headers

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, path: str, body: bytes | None, timeout_s: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = path if "://" in path else self.base_url + path
        seconds = self._timeout_s if timeout_s is None else timeout_s
        async with self._open().request(
            method,
            url,
            data=body,
            params=self._query,
            headers=None if body is None else {"Content-Type": "application/json"},
            proxy=self._proxy,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds),
        ) as response:
            if not 200 <= response.status < 300:
                raise StatusError(response.status, await response.read(), response.headers)
            yield response

    def _open(self) -> aiohttp.ClientSession:
        """The session; made by the first call, for it belongs to the running loop."""
        if self._session is None:
            trusted = _certificates() if self.base_url.startswith("https:") else True
            connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S, ssl=trusted)
            self._session = aiohttp.ClientSession(
                connector=connector, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _certificates() -> ssl.SSLContext:
    """The certificates that the official client trusts: SSL_CERT_FILE, SSL_CERT_DIR, else the system's."""
    import httpx2  # a third of a second of imports: for https only

    return httpx2.create_ssl_context()


def make_client(name: str, settings: OpenAISettings, url: str, key: str | None) -> HttpClient:
    """The client that sends rows to one server. Raises SettingsError for values that cannot be sent."""
    sent = sent_values(name, settings, key)
    headers = {header: value for variable, header in ACCOUNT_HEADERS.items() if (value := os.environ.get(variable))}
    proxy = sent.proxy or environment_proxy(url)
    if settings.azure is not None:
        return HttpClient(
            f"{url}/openai/deployments/{quote(settings.azure.deployment)}",
            _replaced(headers | {"api-key": sent.bearer}, sent.headers),
            settings.timeout_s,
            proxy=proxy,
            query={"api-version": settings.azure.api_version},
        )
    headers["Authorization"] = f"Bearer {sent.bearer}"
    if settings.base_url_dns:
        headers["Host"] = urlsplit(settings.urls[0]).netloc  # the URL holds an address
    return HttpClient(url, _replaced(headers, sent.headers), settings.timeout_s, proxy=proxy)


def _replaced(headers: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Headers, of which a user's own ones replace those of the same name, in whatever case."""
    given = {name.lower() for name in own}
    return {name: value for name, value in headers.items() if name.lower() not in given} | dict(own)


def environment_proxy(url: str) -> str | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for a URL; None on loopback, and where they
    name none. Raises UsageError for one that is no HTTP proxy."""
    parts = urlsplit(url)
    if parts.hostname in LOOPBACK or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and not proxy.startswith(("http://", "https://")):
        raise UsageError(
            f"the environment names the proxy {proxy.partition('@')[2] or proxy} for {url}, and only HTTP proxies are "
            f"supported: name one in {parts.scheme.upper()}_PROXY, or put {parts.hostname} into NO_PROXY."
        )
    return proxy or None
