"""The official client, for files, batches and fine-tuning jobs, and the meaning of what it raises."""

from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from harness.backends.openai.early_check import LOOPBACK
from harness.backends.openai.error_classification import KEY_LIKE, TransientError, Verdict, classify, of_status
from harness.backends.openai.http_client import KEEP_ALIVE_S, MOST_CONNECTIONS
from harness.backends.openai.openai_settings import OpenAISettings, sent_values

SDK_ERRORS = (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, TimeoutError)
"""What a call through the client may raise."""


def make_sdk_client(name: str, settings: OpenAISettings, url: str, key: str | None) -> openai.AsyncOpenAI:
    """A client for one server (not Azure): no retries of its own, no redirects (they could carry keys elsewhere)."""
    sent = sent_values(name, settings, key)
    return openai.AsyncOpenAI(
        base_url=url,
        api_key=sent.bearer,
        max_retries=0,
        timeout=settings.timeout_s,
        default_headers=sent.headers,
        http_client=openai.DefaultAioHttpClient(
            limits=httpx2.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S),
            follow_redirects=False,
            proxy=sent.proxy,
            trust_env=urlsplit(url).hostname not in LOOPBACK,
        ),
    )


def classify_sdk(error: Exception) -> Verdict:
    """The meaning of what a call through the client raised. Unknown exceptions are raised again: they are bugs."""
    broken = _broken_connection(error)
    if broken is not None:
        return classify(broken)
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return classify(TimeoutError())
    if isinstance(error, openai.APIStatusError):
        return of_status(error.status_code, error.response.content, error.response.headers)
    if isinstance(error, openai.APIConnectionError | httpx2.RequestError):
        message = str(error.__cause__ or error) or type(error).__name__
        return TransientError("connection", message, maybe_billed=True)
    if isinstance(error, openai.OpenAIError):  # what the client makes of a body that it cannot read
        return TransientError("bad body", KEY_LIKE.sub("[key]", str(error))[:300], maybe_billed=True, in_body=True)
    return classify(error)


def _broken_connection(error: BaseException) -> aiohttp.ClientConnectionError | None:
    """The transport's own error where the connection broke or was never established (the client reports some of them
    as time-outs)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, aiohttp.ClientConnectionError) and not isinstance(seen, TimeoutError):
            return seen
        seen = seen.__cause__
    return None
