"""What an API error means: retry, an answer without a label, the end of a row, or of the backend."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal

import aiohttp
import msgspec

from harness.backends.openai.answer_parsing import ReportedError, decode
from harness.backends.openai.error_body import ServerError, server_error
from harness.backends.openai.http_client import StatusError
from harness.backends.openai.rate_limiter import parse_duration, retry_after
from harness.records import Finish, Record


class TransientError(Exception):
    """May succeed when asked again.

    retry_after: seconds the server asks to wait. limited: a rate limit refused it; unit: which one ("requests",
    "tokens", or None where it does not say); headers: what came with the refusal. overloaded: the server has too
    much to do. maybe_billed: the server may have done the work. in_body: a 200 brought it instead of an answer.
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
        in_body: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        self.limited = limited
        self.overloaded = overloaded
        self.unit = unit
        self.headers = headers or {}
        self.maybe_billed = maybe_billed
        self.in_body = in_body


class FatalError(Exception):
    """No further request can succeed: this backend stops."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class RowError(Exception):
    """This row cannot be answered and asking again does not help: an infrastructure error, the others continue.

    undecided: nothing says whether the other rows will fare better; whoever raises it finds out.
    """

    def __init__(self, kind: str, message: str, *, undecided: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.undecided = undecided


@dataclass(frozen=True)
class RowAnswer:
    """The server refused this row's content: an answer without a label."""

    finish: Finish
    message: str


Verdict = TransientError | FatalError | RowError | RowAnswer

FATAL = ("authentication", "permission", "no quota", "not found")
ROW: dict[str, Finish] = {
    "length": "length",
    "content_filter": "content_filter",
    "context_too_long": "context_too_long",
}
INVALID = "invalid request"
"""The kind of a refusal without an entry in the table."""
IN_BODY = 0
"""The status of an error that came inside a 200."""
KEY_LIKE = re.compile(r"\b(?:sk|pk|key)-[A-Za-z0-9_*.-]{6,}")
_WAIT = re.compile(
    r"(?:retry|try again|available|reset)s? (?:in|after) (?:about )?([\d.]+ ?(?:ms|s|m|h|d)(?:[\d.]+(?:ms|s|m))*)"
)
_LIMIT = re.compile(r"limit:? (\d+)\b.{0,40}requested:? (\d+)\b", re.IGNORECASE | re.DOTALL)


class _Rule(Record, frozen=True, kw_only=True):
    means: str
    source: str
    codes: tuple[str, ...] = ()
    status: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    alone: tuple[int, ...] = ()


class _ErrorTable(Record, frozen=True, kw_only=True):
    rules: tuple[_Rule, ...]


@lru_cache(maxsize=1)
def error_table() -> tuple[_Rule, ...]:
    """The rules, in order."""
    text = resources.files("harness.backends.openai").joinpath("error_table.toml").read_bytes()
    return msgspec.toml.decode(text, type=_ErrorTable).rules


@lru_cache(maxsize=1)
def _codes() -> dict[str, str]:
    meanings: dict[str, str] = {}
    for rule in error_table():
        for code in rule.codes:
            meanings.setdefault(_squeezed(code), rule.means)
    return meanings


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, frozenset[int], re.Pattern[str]], ...]:
    return tuple(
        (rule.means, frozenset(rule.status), re.compile("|".join(rule.words), re.IGNORECASE | re.DOTALL))
        for rule in error_table()
        if rule.words
    )


@lru_cache(maxsize=1)
def _statuses() -> dict[int, str]:
    return {status: rule.means for rule in error_table() for status in rule.alone}


def meaning_of(status: int, error: ServerError) -> str | None:
    """What the table says of an error: by its code, by its words, by the status alone; None where it says nothing."""
    for part in re.split(r"[\s.:/]+", f"{error.code} {error.kind}"):
        known = _codes().get(_squeezed(part))
        if known is not None and known != "server error":  # a type that servers give to whatever ends with a 500
            return known
    for meaning, statuses, pattern in _patterns():
        if status in statuses and pattern.search(error.message):
            return meaning
    by_status = _statuses().get(status)
    if by_status is None and status < 400 and _codes().get(_squeezed(error.kind)) == "server error":
        return "server error"
    return by_status


def _squeezed(code: str) -> str:
    return re.sub(r"[^a-z0-9]", "", code.lower())


def classify(error: Exception) -> Verdict:
    """The meaning of whatever a call raised. Unknown exceptions are raised again: they are bugs in Bench."""
    if isinstance(error, TimeoutError):  # some of aiohttp's connection errors are time-outs too
        return TransientError("timeout", "no whole answer within timeout_s", maybe_billed=True)
    if isinstance(error, StatusError):
        return of_status(error.status, error.content, error.headers)
    if isinstance(error, ReportedError):
        return of_error(error.error.status or IN_BODY, error.error, {}, prefix="the server reports an error: ")
    if isinstance(error, aiohttp.ClientError):  # the connection, no HTTP at all, a body of another length than it says
        never_sent = isinstance(error, aiohttp.ClientConnectorError)
        message = " ".join(str(error).split())[:300] or type(error).__name__
        return TransientError("connection", message, maybe_billed=not never_sent)
    raise error


def without_row(verdict: Verdict) -> TransientError | FatalError:
    """The meaning of an error of a call that asks no row (files, batches, jobs): what would end a row ends the call."""
    if isinstance(verdict, RowAnswer | RowError):
        return FatalError(INVALID, verdict.message if isinstance(verdict, RowAnswer) else str(verdict))
    return verdict


def of_status(status: int, body: bytes, headers: Mapping[str, str]) -> Verdict:
    """The meaning of an HTTP status and of what the body says."""
    error = server_error(decode(body))
    if error is None:
        text = " ".join(body[:2000].decode("utf-8", "replace").split())[:200]
        place = f" to {headers['location']}" if 300 <= status < 400 and headers.get("location") else ""
        error = ServerError(f"redirected{place}" if 300 <= status < 400 else text)
    return of_error(status, error, headers, prefix=f"HTTP {status}: ")


def of_error(status: int, error: ServerError, headers: Mapping[str, str], prefix: str = "") -> Verdict:
    """The meaning of an error. An unknown one of a server's own (5xx, or inside a 200) may pass; an unknown refusal
    (4xx) ends its row, and whether it concerns all rows is not decided by it."""
    text = prefix + KEY_LIKE.sub("[key]", error.message)
    meaning = meaning_of(status, error)
    if meaning in FATAL:
        return FatalError(meaning, text)
    if meaning in ROW:
        return RowAnswer(ROW[meaning], text)
    wait = retry_after(headers)
    if wait is None:
        wait = _wait_in(error.message)
    if meaning == "rate limit":
        return _limited(error, text, wait, headers)
    if meaning == "overloaded":
        kind = "rate limit" if status == 429 else "server error"
        return TransientError(kind, text, retry_after=wait, overloaded=True, headers=headers)
    if meaning == "timeout":
        return TransientError("timeout", text, retry_after=wait, maybe_billed=status != 408)
    if meaning == "server error" or status >= 500 or status == IN_BODY:
        return TransientError("server error", text, retry_after=wait, in_body=status == IN_BODY)
    return RowError(INVALID, text, undecided=True)


def _limited(error: ServerError, text: str, wait: float | None, headers: Mapping[str, str]) -> Verdict:
    numbers = _LIMIT.search(error.message)
    if numbers is not None and "used" not in error.message.lower() and int(numbers[2]) > int(numbers[1]):
        return RowError("rate limit", f"{text} (the request alone is above the limit)")
    unit: Literal["requests", "tokens"] | None = None
    if error.kind in ("requests", "tokens"):
        unit = error.kind  # type: ignore[assignment]
    elif re.search(r"tokens per|\bTPM\b|\bTPD\b", error.message, re.IGNORECASE):
        unit = "tokens"
    return TransientError("rate limit", text, retry_after=wait, limited=True, unit=unit, headers=headers)


def _wait_in(message: str) -> float | None:
    """Seconds to wait, where a server says them only in words ("Please try again in 7.66s")."""
    match = _WAIT.search(message.lower())
    return parse_duration(match[1].replace(" ", "")) if match is not None else None


def advice(kind: str, label: str, key_env: str, message: str) -> str:
    """User message: what stopped the backend, and what to do."""
    what = {
        "authentication": f"the key in {key_env} was not accepted; put a valid one there",
        "permission": f"the key in {key_env} may not use this model; choose another key or model",
        "no quota": "the account has no money or quota left; raise its limit, or use another key",
        "not found": "the server does not know this model or address; change model or base_url",
        "bad body": "the server's answers are not chat completions; change base_url or model",
        "server error": "the server fails on every request; look at its log, or change base_url or model",
    }.get(kind, "the server refuses the request itself; change model, decode or extra_body, or name the field in omit")
    return f"{label}: {what} ({message})."


FAULTS_AT_FIRST = 3
"""Bodies that are no answers, before any answer came, after which a control request is sent."""
ENDS_AT_FIRST = 3
"""Rows that ended without an answer (filtered, too long), before any answer came, after which one is sent."""
REFUSALS_LATER = 10
"""Refusals in a row, after answers came, after which one is sent (then after twice as many, and so on)."""


class FailureEvidence:
    """Counts answers and failures of one backend, and says when they call for a control request.

    The control request asks the same model, in the same way, something harmless. Where it is answered, the failures
    are the rows' own; where it fails likewise, they concern the whole backend.
    """

    def __init__(self) -> None:
        self.answers = 0
        self._refusals = 0
        self._faults = 0
        self._ends = 0
        self._next_end = ENDS_AT_FIRST
        self._next_refusal = 1
        self._next_fault = FAULTS_AT_FIRST

    def answered(self) -> None:
        """A row was answered."""
        if not self.answers:
            self._next_refusal = REFUSALS_LATER
        self.answers += 1
        self._refusals = self._faults = 0

    def refused(self) -> bool:
        """A refusal without known words; whether to send a control request."""
        self._refusals += 1
        return self._refusals >= self._next_refusal

    def faulty(self) -> bool:
        """A body that is no answer; whether to send a control request."""
        self._faults += 1
        return not self.answers and self._faults >= self._next_fault

    def ended(self) -> bool:
        """A row ended without an answer for a known reason of its own; whether to send a control request."""
        self._ends += 1
        return not self.answers and self._ends >= self._next_end

    def settled(self) -> bool:
        """Whether nothing calls for a control request any longer (an answer came, or another one was just sent)."""
        if self.answers:
            return self._refusals < self._next_refusal
        return self._refusals < self._next_refusal and self._faults < self._next_fault and self._ends < self._next_end

    def cleared(self) -> None:
        """The control request was answered, or was inconclusive: check again only after many more failures."""
        self._next_refusal = max(REFUSALS_LATER, 2 * self._refusals)
        self._next_end = 2 * max(ENDS_AT_FIRST, self._ends)
        self._next_fault = 2 * max(FAULTS_AT_FIRST, self._faults)
