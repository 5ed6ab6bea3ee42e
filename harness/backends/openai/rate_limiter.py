"""The rate limiter: requests and tokens per minute, from settings and from rate-limit headers."""

import asyncio
import email.utils
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s|d)")
_WHOLE = re.compile(rf"(?:{_PIECE.pattern})+")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class ReportedLimit(NamedTuple):
    """One limit as reported by a response: per minute, and what is left of it."""

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


def reported_limit(headers: Mapping[str, str], unit: str) -> ReportedLimit | None:
    """The limit on "requests" or "tokens"; None where it is not told (Azure writes -1 for unknown)."""
    limit = _number(headers.get(f"x-ratelimit-limit-{unit}"))
    if not limit:
        return None
    return ReportedLimit(limit, _number(headers.get(f"x-ratelimit-remaining-{unit}")))


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


SHARE = 0.985
"""Part of a limit that is used: clocks drift and packets bunch."""
BURST_S = 0.8
"""Seconds' worth that may go at once. Servers that count by the second allow one second's worth."""
GUESS_FAST, GUESS_SLOW, GUESS_CUT = 0.3, 0.001, 0.93
"""Guessed limit: growth a second well below the last refused rate, and near it; and the cut at a refusal."""
LEAST_CHARGE, CHARGE_WEIGHT, DOUBT = 0.05, 0.05, 200
"""Learned charge of tokens: its floor, the weight of one answer, and the answers for which a refusal is believed."""
FINEST_S = 1e-4
"""Shorter waits are none: no clock sleeps so exactly."""
LOOK_AGAIN_S = 0.25
"""Longest sleep of the queue: an answer may have raised the limit in the meantime."""
PATIENCE = 3
"""Refusals in a row after which nobody is sent for a while, or soon after each other that are no chance."""


class Permit(NamedTuple):
    """A turn that was given: when, and all tokens (as estimated) that had been sent by then, its own included."""

    at: float
    tokens: float


class TokenBucket:
    """One limit. `level` may become negative: what is sent beyond it delays the next."""

    def __init__(self, limit: float, now: float) -> None:
        self.limit = limit
        self.at = now
        self.level = self.capacity

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.limit / 60 * SHARE

    @property
    def capacity(self) -> float:
        """The most that may go at once."""
        return max(1.0, self.rate * BURST_S)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may go (more than the bucket holds: until it is full)."""
        self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now
        wait = (min(amount, self.capacity) - self.level) / self.rate
        return wait if wait > FINEST_S else 0.0

    def drain(self) -> None:
        """Nothing is left just now."""
        self.level = min(self.level, 0.0)


class RateLimiter:
    """The limits of one server, shared by all rows that go there.

    A request's tokens are estimated as prompt + max_tokens, which is what OpenAI charges beforehand. A server
    that charges less shows it in `remaining`; `charge` is the part that is really charged, learned from there.
    """

    def __init__(self, rpm: float | None, tpm: float | None) -> None:
        self.given = {"requests": rpm, "tokens": tpm}
        now = time.monotonic()
        self.buckets = {unit: TokenBucket(limit, now) for unit, limit in self.given.items() if limit}
        self.bytes_per_token = 4.0
        self.charge = 1.0
        self.refusals_in_a_row = 0
        self._calibrations = 0
        self._tokens_sent = 0.0
        self._last: tuple[Permit, float] | None = None
        self._doubt = 0
        self._guess_ceiling: float | None = None
        self._guess_changed = self._guess_cut = 0.0
        self._hold_until = 0.0
        self._line = asyncio.Lock()
        self._answers: deque[float] = deque(maxlen=500)
        self._refusals: deque[float] = deque(maxlen=PATIENCE)

    def estimate(self, prompt_bytes: int, answer_tokens: int) -> float:
        """Tokens of a request: the prompt's, by the ratio of bytes to tokens seen so far, and max_tokens."""
        return prompt_bytes / self.bytes_per_token + answer_tokens

    def calibrate(self, prompt_bytes: int, prompt_tokens: int) -> None:
        """Learn the ratio of bytes to tokens from an answer's usage."""
        if prompt_tokens > 0:
            self._calibrations += 1
            weight = max(0.02, 1 / (self._calibrations + 1))
            self.bytes_per_token += weight * (prompt_bytes / prompt_tokens - self.bytes_per_token)

    async def acquire(self, tokens: float, stopped: Callable[[], bool]) -> Permit:
        """Wait until a request of `tokens` tokens may go, or `stopped()`; first come, first served."""
        if self.buckets or self._hold_until:
            async with self._line:
                while (wait := self.wait(tokens, time.monotonic())) > 0 and not stopped():
                    await asyncio.sleep(min(wait, LOOK_AGAIN_S))
                return self.take(tokens, time.monotonic())
        return self.take(tokens, time.monotonic())

    def held(self, now: float) -> float:
        """Seconds for which nobody may go, whatever the limits (0 or less: none)."""
        return self._hold_until - now

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until a request of `tokens` tokens could go, were it the first in line (0 or less: now)."""
        longest = self.held(now)
        for unit, bucket in self.buckets.items():
            longest = max(longest, bucket.wait(self._amount(unit, tokens), now))
        return longest

    def take(self, tokens: float, now: float) -> Permit:
        """Let a request go."""
        for unit, bucket in self.buckets.items():
            bucket.level -= self._amount(unit, tokens)
        self._tokens_sent += tokens
        return Permit(now, self._tokens_sent)

    def _amount(self, unit: str, tokens: float) -> float:
        return 1.0 if unit == "requests" else tokens * self.charge

    def answered(self, headers: Mapping[str, str], permit: Permit | None, now: float) -> None:
        """Learn from an answer that came through."""
        self.refusals_in_a_row = 0
        self._hold_until = 0.0
        self._answers.append(now)
        self._read_headers(headers, permit, now)
        if self._guess_ceiling is not None:
            bucket = self.buckets["requests"]
            pace = GUESS_FAST if bucket.limit < 0.95 * self._guess_ceiling else GUESS_SLOW
            bucket.limit *= 1 + pace * min(1.0, now - self._guess_changed)
            self._guess_changed = now

    def _read_headers(self, headers: Mapping[str, str], permit: Permit | None, now: float) -> None:
        for unit, given in self.given.items():
            found = reported_limit(headers, unit)
            if found is None:
                continue
            bucket = self.buckets.get(unit)
            if bucket is None:
                bucket = self.buckets[unit] = TokenBucket(found.limit, now)
            if unit == "requests":
                self._guess_ceiling = None
            bucket.limit = min(found.limit, given) if given else found.limit
            if found.remaining is None:
                continue
            if found.remaining < bucket.capacity:  # ours is nearly gone, or others use it too: the next row waits
                bucket.level = min(bucket.level, found.remaining)
            if unit == "tokens" and permit is not None:
                self._learn_charge(found.limit, found.remaining, permit)

    def _learn_charge(self, limit: float, remaining: float, permit: Permit) -> None:
        """Compare what the quota lost since an earlier answer, refilling evenly, with what we sent since."""
        if self._last is not None and permit.tokens <= self._last[0].tokens:
            return  # overtaken by a request that was sent later
        before, self._last = self._last, (permit, remaining)
        self._doubt = max(0, self._doubt - 1)
        if before is None or self._doubt:
            return
        refilled = min(limit, before[1] + (permit.at - before[0].at) * limit / 60)
        charged = (refilled - remaining) / (permit.tokens - before[0].tokens)
        self.charge += CHARGE_WEIGHT * (min(1.0, max(LEAST_CHARGE, charged)) - self.charge)

    def refused(self, unit: str | None, retry_after: float | None, headers: Mapping[str, str], now: float) -> None:
        """Learn from a 429: its limit is used up just now; after several in a row nobody can go for a while."""
        self.refusals_in_a_row += 1
        self._read_headers(headers, None, now)
        self._refusals.append(now)
        if self._guess_ceiling is not None or (not self.buckets and self._refused_often(now)):
            self._guess(now)
        for name, bucket in self.buckets.items():
            if unit in (None, name):
                bucket.drain()
        if unit != "requests":
            self.charge, self._doubt = 1.0, DOUBT
        if self.refusals_in_a_row >= PATIENCE:
            wait = min(10.0, 0.1 * 2 ** (self.refusals_in_a_row - PATIENCE)) if retry_after is None else retry_after
            self._hold_until = max(self._hold_until, now + wait)

    def _refused_often(self, now: float) -> bool:
        """Whether refusals are more than chance: several within ten seconds."""
        return len(self._refusals) == PATIENCE and now - self._refusals[0] < 10.0

    def _guess(self, now: float) -> None:
        """The server reports no limit: take a little less than what it lets through, and grow from there."""
        passed = self._recent_passes(now) * 60
        bucket = self.buckets.get("requests")
        if bucket is None:
            bucket = self.buckets["requests"] = TokenBucket(max(60.0, passed), now)
            self._guess_ceiling = float("inf")  # what was refused came in a bunch: no rate is known to be too high
        elif now - self._guess_cut < 1.0:
            return  # one of those that were in flight when the last cut was made
        else:
            self._guess_ceiling = min(bucket.limit, max(6.0, passed))
            bucket.limit = self._guess_ceiling * GUESS_CUT
        self._guess_changed = self._guess_cut = now

    def _recent_passes(self, now: float) -> float:
        """Answers a second over the last two seconds."""
        recent = [t for t in self._answers if now - t < 2.0]
        return len(recent) / max(now - recent[0], 1.0) if recent else 0.0
