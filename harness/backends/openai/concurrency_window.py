"""The concurrency window of one server: requests in flight, adapted by success and by event loop lag."""

import asyncio
import time

EVERY_S = 0.01
WEIGHT = 0.1
SHARE = 0.05
"""Lag above this part of a latency makes the latency the client's own (a request passes the loop several times)."""


class EventLoopLag:
    """Measures the event loop's lateness while it runs: `recent` (exponentially weighted) and `mean`, seconds."""

    def __init__(self) -> None:
        self.recent = 0.0
        self._sum = 0.0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def mean(self) -> float:
        """Over everything measured so far."""
        return self._sum / self._count if self._count else 0.0

    def start(self) -> None:
        """Begin to measure in the running loop."""
        self._expect(asyncio.get_running_loop())

    def _expect(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(EVERY_S, self._called, loop, time.perf_counter() + EVERY_S)

    def _called(self, loop: asyncio.AbstractEventLoop, expected: float) -> None:
        late = max(0.0, time.perf_counter() - expected)
        self.recent += WEIGHT * (late - self.recent)
        self._sum += late
        self._count += 1
        self._expect(loop)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


FIRST, START = 4, 32
"""In flight until the first answer (it reports the limits), and then."""


class ConcurrencyWindow:
    """A congestion window. Each round is as many answers as the window is wide.

    After a round in which the window was full it grows by half, if latency held (within `HELD` times the best
    round's mean) or throughput rose by `RISE` since the last growth; if neither did, it goes back to the width
    that was as good. Where this process is the bottleneck, more in flight would only wait here and be recorded
    as slow: the width then becomes what the best latency needs (width x best / mean, Brakmo and Peterson's
    Vegas rule) and a quarter more. An overload of the server takes a third, at most once a round.
    """

    HELD, RISE, OVERLOAD = 1.2, 1.05, 0.67

    def __init__(self, ceiling: int, lag: EventLoopLag) -> None:
        self.ceiling = ceiling
        self.lag = lag
        self.width = min(FIRST, ceiling)
        self.best_latency = float("inf")
        self._last_width = self.width
        self._last_rate = 0.0
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._count = 0
        self._sum = 0.0
        self._full = False
        self._cut = False
        self._began = now

    def answered(self, service_s: float, in_flight: int, now: float) -> None:
        """Note an answer (and how many were in flight with it); at the end of a round, choose the next width."""
        if self.best_latency == float("inf"):
            self.best_latency = service_s
            self.width = max(self.width, min(START, self.ceiling))
            self._begin(now)
            return
        self._count += 1
        self._sum += service_s
        self._full = self._full or in_flight >= self.width
        if self._count >= self.width:
            self._end_of_round(now)

    def _end_of_round(self, now: float) -> None:
        wall = max(now - self._began, 1e-6)
        mean, rate = self._sum / self._count, self._count / wall
        self.best_latency = min(self.best_latency, mean)
        held = mean <= self.HELD * self.best_latency
        if not held and self.lag.recent > SHARE * self.best_latency:
            self.width = max(min(START, self.ceiling), int(1.25 * self.width * self.best_latency / mean))
        elif self._full and not self._cut:
            if held or rate >= self.RISE * self._last_rate:
                self._last_width, self._last_rate = self.width, max(rate, self._last_rate)
                self.width = min(self.ceiling, self.width + (self.width + 1) // 2)
            else:
                self.width = max(min(START, self.ceiling), self._last_width)
        self._begin(now)

    def overloaded(self) -> None:
        """The server said that it has too much to do."""
        if not self._cut:
            self._cut = True
            self.width = max(1, int(self.width * self.OVERLOAD))
            self._last_width = self.width
