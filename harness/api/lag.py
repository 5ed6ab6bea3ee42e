"""How late this process is: answers that have arrived wait as long to be read as timers wait to be called."""

import asyncio
import time

EVERY_S = 0.01
WEIGHT = 0.1
SHARE = 0.05
"""Lag above this part of a latency makes the latency the client's own (a request passes the loop several times)."""


class Lag:
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
