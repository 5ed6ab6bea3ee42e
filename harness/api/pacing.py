"""Pacing to a server's limits: requests and tokens a minute together, as told by settings and by headers.

Each limit is a token bucket that holds only a fraction of a second's worth, so that requests are spread evenly
whatever window the server counts in. Waiting rows stand in line; a refused row waits by itself, not in the line.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping

from harness.api.limit_headers import told

SHARE = 0.985
"""Part of a limit that is used: clocks drift and packets bunch."""
BURST_S = 0.8
"""Seconds' worth that may go at once. Servers that count by the second allow one second's worth."""
SPEED_STEP, FASTEST = 1.001, 4.0
"""Token limit: growth per answer while most of the quota stays unused, and where it ends."""
GUESS_FAST, GUESS_SLOW, GUESS_CUT = 1.002, 1.0002, 0.93
"""Guessed limit: growth per answer well below the last refused rate, near it, and the cut at a refusal."""
LOOK_AGAIN_S = 0.25
"""The line looks again at least so often: an answer may have told of a wider limit meanwhile."""
PATIENCE = 3
"""Refusals in a row after which nobody is sent for a while, or soon after each other that are no chance."""


class Bucket:
    """One limit. `level` may become negative: what is sent beyond it delays the next."""

    def __init__(self, limit: float, now: float) -> None:
        self.limit = limit
        self.speed = 1.0
        self.at = now
        self.level = self.capacity

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.limit / 60 * SHARE * self.speed

    @property
    def capacity(self) -> float:
        """The most that may go at once."""
        return max(1.0, self.rate * BURST_S)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may go (more than the bucket holds: until it is full)."""
        self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now
        short = min(amount, self.capacity) - self.level
        return short / self.rate if short > 1e-9 else 0.0

    def drain(self) -> None:
        """Nothing is left just now."""
        self.level = min(self.level, 0.0)


class Pacer:
    """The limits of one server, shared by all rows that go there."""

    def __init__(self, rpm: float | None, tpm: float | None) -> None:
        self.given = {"requests": rpm, "tokens": tpm}
        now = time.monotonic()
        self.buckets = {unit: Bucket(limit, now) for unit, limit in self.given.items() if limit}
        self.bytes_per_token = 4.0
        self.refusals_in_a_row = 0
        self._guess_ceiling: float | None = None
        self._truthful = True
        self._hold_until = 0.0
        self._line = asyncio.Lock()
        self._answers: deque[float] = deque(maxlen=500)
        self._refusals: deque[float] = deque(maxlen=PATIENCE)

    def estimate(self, prompt_bytes: int, answer_tokens: int) -> float:
        """Tokens a server will charge beforehand: the prompt's, by the ratio seen so far, and max_tokens."""
        return prompt_bytes / self.bytes_per_token + answer_tokens

    def calibrate(self, prompt_bytes: int, prompt_tokens: int) -> None:
        """Learn the ratio of bytes to tokens from an answer's usage."""
        if prompt_tokens > 0:
            self.bytes_per_token += 0.05 * (prompt_bytes / prompt_tokens - self.bytes_per_token)

    async def turn(self, tokens: float) -> None:
        """Wait until a request of `tokens` tokens may go; first come, first served."""
        if not self.buckets and not self._hold_until:
            return
        async with self._line:
            while (wait := self.wait(tokens, time.monotonic())) > 0:
                await asyncio.sleep(min(wait, LOOK_AGAIN_S))
            for unit, bucket in self.buckets.items():
                bucket.level -= 1.0 if unit == "requests" else tokens

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until a request of `tokens` tokens could go, were it the first in line (0 or less: now)."""
        longest = self._hold_until - now
        for unit, bucket in self.buckets.items():
            longest = max(longest, bucket.wait(1.0 if unit == "requests" else tokens, now))
        return longest

    def answered(self, headers: Mapping[str, str], now: float) -> None:
        """Learn from an answer that came through."""
        self.refusals_in_a_row = 0
        self._hold_until = 0.0
        self._answers.append(now)
        self._listen(headers, now)
        if self._guess_ceiling is not None:
            bucket = self.buckets["requests"]
            bucket.limit *= GUESS_FAST if bucket.limit < 0.95 * self._guess_ceiling else GUESS_SLOW

    def _listen(self, headers: Mapping[str, str], now: float) -> None:
        for unit in self.given:
            found = told(headers, unit)
            if found is not None:
                self._learn(unit, found.limit, found.remaining, now)

    def _learn(self, unit: str, limit: float, remaining: float | None, now: float) -> None:
        given = self.given[unit]
        bucket = self.buckets.get(unit)
        if bucket is None:
            bucket = self.buckets[unit] = Bucket(limit, now)
        if unit == "requests":
            self._guess_ceiling = None
        bucket.limit = min(limit, given) if given else limit
        if remaining is None:
            return
        if remaining < bucket.capacity:  # others use the same quota, or ours is nearly gone: the next row waits
            bucket.level = min(bucket.level, remaining)
        if unit == "tokens" and self._truthful:
            self._use_what_is_left(bucket, remaining / limit)

    def _use_what_is_left(self, bucket: Bucket, share_left: float) -> None:
        """We charge max_tokens; a server that charges what was really used leaves quota unused: go faster then."""
        if share_left > 0.5 and bucket.level < 0.5 * bucket.capacity:
            bucket.speed = min(FASTEST, bucket.speed * SPEED_STEP)
        elif share_left < 0.25:
            bucket.speed = max(1.0, bucket.speed / SPEED_STEP)

    def refused(self, unit: str | None, retry_after: float | None, headers: Mapping[str, str], now: float) -> None:
        """Learn from a 429: its limit is used up just now; after several in a row nobody can go for a while."""
        self.refusals_in_a_row += 1
        self._listen(headers, now)
        self._refusals.append(now)
        if self._guess_ceiling is not None or (not self.buckets and self._often(now)):
            self._guess(now)
        for name, bucket in self.buckets.items():
            if unit in (None, name):
                bucket.drain()
                if bucket.speed > 1.0:  # `remaining` promised room that was not there
                    bucket.speed, self._truthful = 1.0, False
        if self.refusals_in_a_row >= PATIENCE:
            wait = min(10.0, 0.1 * 2 ** (self.refusals_in_a_row - PATIENCE)) if retry_after is None else retry_after
            self._hold_until = max(self._hold_until, now + wait)

    def _often(self, now: float) -> bool:
        """Whether refusals are more than chance: several within ten seconds."""
        return len(self._refusals) == PATIENCE and now - self._refusals[0] < 10.0

    def _guess(self, now: float) -> None:
        """The server tells no limit: take a little less than the rate it refused, and grow from there."""
        bucket = self.buckets.get("requests")
        if bucket is None:
            recent = [t for t in self._answers if now - t < 5.0]
            rate = len(recent) / max(now - recent[0], 0.5) if recent else 1.0
            bucket = self.buckets["requests"] = Bucket(rate * 60, now)
        self._guess_ceiling = bucket.limit
        bucket.limit = max(6.0, bucket.limit * GUESS_CUT)
