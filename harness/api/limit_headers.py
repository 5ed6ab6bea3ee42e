"""What a server says of its limits: `x-ratelimit-*`, `Retry-After`, and durations as OpenAI writes them."""

import email.utils
import re
import time
from collections.abc import Mapping
from typing import NamedTuple

_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s|d)")
_WHOLE = re.compile(rf"(?:{_PIECE.pattern})+")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Told(NamedTuple):
    """One limit as told by a response: per minute, and what is left of it."""

    limit: float
    remaining: float | None


def parse_duration(text: str) -> float | None:
    """Seconds of a Go duration ("6m0s", "12ms") or of a bare number; None for anything else."""
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PIECE.findall(text))
    return _number(text)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None


def told(headers: Mapping[str, str], unit: str) -> Told | None:
    """The limit on "requests" or "tokens"; None where it is not told (Azure writes -1 for unknown)."""
    limit = _number(headers.get(f"x-ratelimit-limit-{unit}"))
    if not limit:
        return None
    return Told(limit, _number(headers.get(f"x-ratelimit-remaining-{unit}")))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait before asking again: `retry-after-ms`, else `Retry-After` as seconds, duration or date.

    `x-ratelimit-reset-*` is not used: it is the time until the whole quota is back, not until there is room.
    """
    ms = _number(headers.get("retry-after-ms"))
    if ms is not None:
        return ms / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
