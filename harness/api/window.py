"""How many requests may be in flight at one server: grows while that helps, shrinks when the server is overloaded."""

START = 32
"""In flight at first: enough to feel the server out, few enough to be no flood."""


class Window:
    """A congestion window. Each round is as many answers as the window is wide.

    After a round in which the window was full it grows by half, if latency held (within `HELD` times the best
    round's mean) or throughput rose by `RISE` since the last growth; if neither did, it goes back to the width
    that was as good. An overload takes a third, at most once a round.
    """

    HELD, RISE, OVERLOAD = 1.25, 1.05, 0.67

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.width = min(START, ceiling)
        self.best_latency = float("inf")
        self._last_width = self.width
        self._last_rate = 0.0
        self._begin(None)

    def _begin(self, now: float | None) -> None:
        self._count = 0
        self._sum = 0.0
        self._full = False
        self._cut = False
        self._began = now

    def answered(self, service_s: float, in_flight: int, now: float) -> None:
        """Note an answer and, at the end of a round, choose the next width."""
        if self._began is None:
            self._began = now - service_s
        self._count += 1
        self._sum += service_s
        self._full = self._full or in_flight >= self.width
        if self._count >= self.width:
            self._end_of_round(now)

    def _end_of_round(self, now: float) -> None:
        mean = self._sum / self._count
        rate = self._count / max(now - (self._began or now), 1e-6)
        held = mean <= self.HELD * self.best_latency
        rose = rate >= self.RISE * self._last_rate
        self.best_latency = min(self.best_latency, mean)
        if self._full and not self._cut:
            if held or rose:
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
