"""A figure with its interval: what every aggregate of a run is stored as."""

from harness.records import Record


class Estimate(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A figure with its interval.

    value: None where the metric is undefined: no rows, or not applicable to the decode mode. low, high: ends of the
    interval; None without one. method: of the interval, with its level, or why there is no value. n: rows it rests on.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    n: int = 0
