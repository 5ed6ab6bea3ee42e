"""The official client, its aiohttp transport, and the two ways of sending: whole and streamed."""

import os
import time
from urllib.parse import urlsplit

import httpx2
import openai

from harness.api.answer import read_answer
from harness.api.caller import Reply
from harness.api.endpoints import Endpoint
from harness.api.settings import OPENAI_URL, OpenAISettings, from_environment
from harness.api.stream import read_stream
from harness.errors import UsageError

PATH = "/chat/completions"
NO_KEY = "no-key"
"""Sent to servers other than OpenAI when no key is set: the client insists on one, most local servers do not."""
MOST_CONNECTIONS = 10_000
KEEP_ALIVE_S = 60.0


def find_key(name: str, settings: OpenAISettings) -> str | None:
    """The key from the environment; None where none is set and another server than OpenAI is asked.

    Raises UsageError naming the variable where OpenAI or Azure is asked without a key.
    """
    key = os.environ.get(settings.api_key_env, "").strip()
    if key:
        return key
    if settings.azure is not None or OPENAI_URL in settings.urls:
        raise UsageError(
            f"backend '{name}': the environment variable {settings.api_key_env} is not set; put the API key there "
            f"(or name another variable with api_key_env in [backends.{name}])."
        )
    return None


def make_client(name: str, settings: OpenAISettings, url: str, key: str | None) -> openai.AsyncOpenAI:
    """A client for one server: no retries of its own, no redirects (they could carry keys elsewhere)."""
    where = f"[backends.{name}]"
    bearer = sendable(key or NO_KEY, f"the key in the environment variable {settings.api_key_env}")
    headers = {
        k: sendable(from_environment(v, f"{where}.extra_headers.{k}"), f"{where}.extra_headers.{k}")
        for k, v in settings.extra_headers.items()
    }
    proxy = from_environment(settings.proxy, f"{where}.proxy") if settings.proxy else None
    if proxy and not proxy.startswith(("http://", "https://")):
        raise UsageError(f"{where}: proxy must be a URL like http://HOST:3128.")
    if settings.base_url_dns:
        headers.setdefault("Host", urlsplit(settings.urls[0]).netloc)  # the URL holds an address
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    http_client = openai.DefaultAioHttpClient(
        limits=httpx2.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S),
        follow_redirects=False,
        proxy=proxy,
        trust_env=not local,
    )
    if settings.azure is not None:
        return openai.AsyncAzureOpenAI(
            azure_endpoint=url,
            azure_deployment=settings.azure.deployment,
            api_version=settings.azure.api_version,
            api_key=bearer,
            max_retries=0,
            timeout=settings.timeout_s,
            default_headers=headers,
            http_client=http_client,
        )
    return openai.AsyncOpenAI(
        base_url=url,
        api_key=bearer,
        max_retries=0,
        timeout=settings.timeout_s,
        default_headers=headers,
        http_client=http_client,
    )


def sendable(value: str, where: str) -> str:
    """What goes into a header, as it is. Raises UsageError for what HTTP cannot carry there."""
    if not (value.isascii() and value.isprintable()):
        raise UsageError(
            f"{where} holds a character that no HTTP header takes (a curly quote, a line end): type it anew."
        )
    return value


async def send_whole(endpoint: Endpoint, body: bytes) -> Reply:
    """Send a body and read the answer from its bytes (the client's own answer objects cost as much as the call)."""
    response = await endpoint.client.post(PATH, content=body, cast_to=httpx2.Response)
    return Reply(read_answer(response.content), response.headers)


async def send_streamed(endpoint: Endpoint, body: bytes) -> Reply:
    """Send a body whose answer is streamed; its first piece gives the first-token time. A server that does not stream
    answers whole, without one."""
    began = time.perf_counter()
    stream = await endpoint.client.post(
        PATH, content=body, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
    )
    response = stream.response  # its bytes are read here: the client's own events raise on shapes that it does not know
    try:
        answer, first = await read_stream(response.aiter_bytes(), began)
    finally:
        await response.aclose()
    return Reply(answer, response.headers, first)
