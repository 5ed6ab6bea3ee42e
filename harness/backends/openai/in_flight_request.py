"""One request while it is being asked: when it was sent, what failed, and how an answer comes back."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.backends.openai.answer_parsing import ChatAnswer
from harness.backends.openai.rate_limiter import Permit
from harness.backends.openai.server_pool import Endpoint
from harness.records import Request, Timing


@dataclass(frozen=True)
class ReceivedAnswer:
    """A whole answer as it came: what it says, its headers, and when its first token came (if it was streamed)."""

    answer: ChatAnswer
    headers: Mapping[str, str]
    first_token_s: float | None = None


class Send(Protocol):
    """How a body is sent (whole or streamed). Raises what the client raises, or BadBodyError."""

    async def __call__(self, endpoint: Endpoint, body: bytes) -> ReceivedAnswer:
        """Send once."""
        ...


@dataclass
class InFlightRequest:
    """What is known of one request while it is being asked."""

    request: Request
    body: bytes
    prompt_bytes: int
    max_cost: float | None
    started_at: float
    endpoint: Endpoint | None = None
    ticket: Permit | None = None
    first_sent: float = 0.0
    last_sent: float = 0.0
    queue_s: float = 0.0
    wasted_cost: float = 0.0
    attempts: int = 0
    learned_count: int = 0
    failures: list[str] = field(default_factory=list)
    failed_addresses: list[str] = field(default_factory=list)

    def record_failure(self, url: str, kind: str) -> None:
        """Remember that the attempt in flight failed, where, and after how long."""
        self.failed_addresses.append(url)
        self.failures.append(f"{kind} after {time.perf_counter() - self.last_sent:.3f} s")

    def timing(self, service_s: float, first_token_s: float | None) -> Timing:
        """Retry time is everything between the first and the last sending that was not waiting for one's turn."""
        between = self.last_sent - self.first_sent
        first_wait = self.first_sent - self.started_at
        later_waits = max(0.0, self.queue_s - first_wait)
        return Timing(
            queue_s=self.queue_s,
            service_s=service_s,
            retry_s=max(0.0, between - later_waits) if self.attempts > 1 else 0.0,
            first_token_s=first_token_s,
        )
