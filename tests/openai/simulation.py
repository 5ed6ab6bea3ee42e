"""A pacer against a limit-keeping server on a simulated clock: minutes of pacing in milliseconds, no luck involved."""

import heapq
import random
import time
from dataclasses import dataclass

from harness.backends.openai.rate_limiter import Permit, RateLimiter
from tests.support.limits import Limits

PROMPT, LATENCY_S, JITTER_S, WIDTH = 60, 0.05, 0.003, 64


@dataclass(frozen=True)
class Outcome:
    """What came of it: requests sent and refused, seconds from the first to the last, and the limit's own pace."""

    sent: int
    refused: int
    seconds: float
    at_the_limit_s: float

    @property
    def refused_share(self) -> float:
        return self.refused / self.sent

    @property
    def use(self) -> float:
        """Part of the limit that was used."""
        return self.at_the_limit_s / self.seconds


def simulate(
    rows: int,
    *,
    rpm: float | None = None,
    tpm: float | None = None,
    configured: bool = False,
    burst_s: float = 1.0,
    max_tokens: int = 12,
    charged: int = 12,
    headers: bool = True,
) -> Outcome:
    """Send `rows` requests of PROMPT + max_tokens tokens to a server that charges PROMPT + `charged` of them."""
    chance = random.Random(0)
    pacer = RateLimiter(rpm if configured else None, tpm if configured else None)
    limits = Limits(rpm, tpm, burst_s)
    now = begun = time.monotonic()
    flying: list[tuple[float, int, bool, dict[str, str], float | None, Permit]] = []
    resting: list[float] = []
    todo, done, sent, refused, last = rows, 0, 0, 0, begun
    while done < rows:
        while flying and flying[0][0] <= now:
            at, _, passed, told, after, ticket = heapq.heappop(flying)
            if passed:
                done += 1
                pacer.answered(told, ticket, at)
                pacer.calibrate(PROMPT * 4, PROMPT)
            else:
                refused += 1
                pacer.refused(None, after, told, at)
                heapq.heappush(resting, at + (chance.random() * 0.5 if after is None else after))
        again = bool(resting) and resting[0] <= now
        wait = 0.001
        if (todo or again) and len(flying) < (WIDTH if done else 4):
            tokens = pacer.estimate(PROMPT * 4, max_tokens)
            wait = pacer.wait(tokens, now)
            if wait <= 0:
                if again:
                    heapq.heappop(resting)
                else:
                    todo -= 1
                sent += 1
                ticket = pacer.take(tokens, now)
                last = now + chance.random() * JITTER_S
                after = limits.admit(PROMPT + charged, last)
                told = limits.headers() if headers else {}
                back = last + (0.002 if after else LATENCY_S + chance.random() * JITTER_S)
                heapq.heappush(flying, (back, sent, not after, told, (after or None) if headers else None, ticket))
                continue
        now += min(wait, 0.25, max(1e-6, flying[0][0] - now) if flying else 0.25)
    pace = rpm / 60 if rpm else (tpm or 0) / 60 / (PROMPT + charged)
    return Outcome(sent, refused, last - begun, rows / pace)
