"""What an error of the API means: try again, an answer without a label, or stop this backend."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai

from harness.api.limit_headers import retry_after
from harness.records import Finish


class TransientError(Exception):
    """May succeed when asked again.

    retry_after: seconds the server asks to wait. limited: a rate limit refused it; unit: which one ("requests",
    "tokens", or None where it does not say); headers: what came with the refusal. overloaded: the server has too
    much to do. maybe_billed: the server may have done the work.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retry_after: float | None = None,
        limited: bool = False,
        overloaded: bool = False,
        unit: str | None = None,
        headers: Mapping[str, str] | None = None,
        maybe_billed: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        self.limited = limited
        self.overloaded = overloaded
        self.unit = unit
        self.headers = headers or {}
        self.maybe_billed = maybe_billed


class FatalError(Exception):
    """No further request can succeed: this backend stops."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class RowAnswer:
    """The server refused this row's content: an answer without a label."""

    finish: Finish
    message: str


NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
TOO_LONG = re.compile(r"context[ _](?:length|window)|maximum context|too many tokens|prompt is too long", re.IGNORECASE)
KEY_LIKE = re.compile(r"\b(?:sk|pk|key)-[A-Za-z0-9_*.-]{6,}")
FATAL_KINDS = {401: "authentication", 402: "no quota", 403: "permission", 404: "not found"}


def classify(error: Exception) -> TransientError | FatalError | RowAnswer:
    """The meaning of whatever a call raised. Unknown exceptions are raised again: they are faults of Bench."""
    lost = _lost_line(error)
    if lost is not None:
        never_sent = isinstance(lost, aiohttp.ClientConnectorError)
        return TransientError("connection", f"{lost}" or type(lost).__name__, maybe_billed=not never_sent)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return TransientError("timeout", "no whole answer within timeout_s", maybe_billed=True)
    if isinstance(error, openai.APIStatusError):
        body = error.body if isinstance(error.body, dict) else {}
        return of_status(error.status_code, body, error.response.headers, error.response.text)
    if isinstance(error, openai.APIConnectionError):
        return TransientError("connection", str(error.__cause__ or error), maybe_billed=True)
    if isinstance(error, openai.APIError):  # an error that came as an event of a stream
        return TransientError("server error", KEY_LIKE.sub("[key]", error.message)[:300], maybe_billed=True)
    raise error


def _lost_line(error: BaseException) -> BaseException | None:
    """The transport's own error where the line broke or never stood (it reports some of them as time-outs)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, aiohttp.ClientConnectionError) and not isinstance(seen, TimeoutError):
            return seen
        seen = seen.__cause__
    return None


def of_status(
    status: int, body: dict[str, Any], headers: Mapping[str, str], otherwise: str = ""
) -> TransientError | FatalError | RowAnswer:
    """The meaning of an HTTP status and of the `error` object in its body (`otherwise`: its text, if it has none)."""
    code, family = str(body.get("code") or ""), str(body.get("type") or "")
    said = KEY_LIKE.sub("[key]", str(body.get("message") or body.get("detail") or otherwise))[:300]
    words = f"HTTP {status}: {said}"
    if status == 429 and (code in NO_MONEY or family in NO_MONEY):
        return FatalError("no quota", words)
    if status == 429:
        overloaded = "overload" in code or family in ("server_error", "server_overloaded")
        return TransientError(
            "rate limit",
            words,
            retry_after=retry_after(headers),
            limited=not overloaded,
            overloaded=overloaded,
            unit=family if family in ("requests", "tokens") else None,
            headers=headers,
        )
    if status in (408, 409) or status >= 500:
        wait = retry_after(headers)
        kind = "timeout" if status == 408 else "server error"
        return TransientError(kind, words, retry_after=wait, overloaded=status in (503, 529))
    if status == 413 or code in ("context_length_exceeded", "string_above_max_length"):
        return RowAnswer("context_too_long", words)
    if status == 400 and ("content_filter" in code or "content_policy" in code or code == "invalid_prompt"):
        return RowAnswer("content_filter", words)
    if status == 400 and TOO_LONG.search(said):
        return RowAnswer("context_too_long", words)
    return FatalError(FATAL_KINDS.get(status, "invalid request"), words)


def advice(kind: str, where: str, key_env: str, said: str) -> str:
    """One sentence for a person: what stopped the backend, and what to do."""
    what = {
        "authentication": f"the key in {key_env} was not accepted; put a valid one there",
        "permission": f"the key in {key_env} may not use this model; choose another key or model",
        "no quota": "the account has no money or quota left; raise its limit, or use another key",
        "not found": "the server does not know this model or address; change model or base_url",
    }.get(kind, "the server refuses the request itself; change model, decode or extra_body, or name the field in omit")
    return f"{where}: {what} ({said})."
