"""Request and token limits as a provider enforces them, with the headers a provider sends."""

from dataclasses import dataclass, field


@dataclass
class Bucket:
    """`limit` a minute, refilled evenly; holds at most `burst_s` seconds' worth."""

    limit: float
    burst_s: float
    level: float = field(init=False)
    at: float | None = None

    def __post_init__(self) -> None:
        self.level = self.capacity

    @property
    def capacity(self) -> float:
        return self.limit / 60 * self.burst_s

    def refill(self, now: float) -> None:
        if self.at is not None:
            self.level = min(self.capacity, self.level + (now - self.at) * self.limit / 60)
        self.at = now

    def wait_for(self, amount: float) -> float:
        """Seconds until `amount` is there (0: now)."""
        return max(0.0, (amount - self.level) * 60 / self.limit)

    def headers(self, unit: str) -> dict[str, str]:
        """A per-minute quota's view: what is used now, and when it will be whole again."""
        used = self.capacity - self.level
        return {
            f"x-ratelimit-limit-{unit}": str(int(self.limit)),
            f"x-ratelimit-remaining-{unit}": str(max(0, int(self.limit - used))),
            f"x-ratelimit-reset-{unit}": go_duration(used * 60 / self.limit),
        }


def go_duration(seconds: float) -> str:
    """As OpenAI writes durations: 12ms, 1.5s, 6m0s."""
    if seconds < 1:
        return f"{int(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:.3f}".rstrip("0").rstrip(".") + "s"


class Limits:
    """Both limits together: a request passes both or is refused and charged to neither."""

    def __init__(self, rpm: float | None, tpm: float | None, burst_s: float) -> None:
        self.requests = Bucket(rpm, burst_s) if rpm else None
        self.tokens = Bucket(tpm, burst_s) if tpm else None

    def admit(self, tokens: int, now: float) -> float:
        """0 where the request passes, else the seconds after which it would."""
        wait = 0.0
        for bucket, amount in ((self.requests, 1.0), (self.tokens, float(tokens))):
            if bucket:
                bucket.refill(now)
                wait = max(wait, bucket.wait_for(amount))
        if wait == 0.0:
            for bucket, amount in ((self.requests, 1.0), (self.tokens, float(tokens))):
                if bucket:
                    bucket.level -= amount
        return wait

    def headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.requests:
            found |= self.requests.headers("requests")
        if self.tokens:
            found |= self.tokens.headers("tokens")
        return found
