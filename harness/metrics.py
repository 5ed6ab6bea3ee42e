"""What a task measures, as data: each metric is a mean of per-row values or a function of the confusion table."""

import math
from typing import Literal

from harness.records import Record

Kind = Literal["mean", "confusion", "counts", "correlation"]
OF_LABELS: tuple[Kind, ...] = ("confusion", "counts")
"""Kinds that are functions of label counts (`harness.statistics.confusion`)."""


class Metric(Record, frozen=True, kw_only=True):
    """A metric of a task.

    name: as shown and as named in `[gate]`.
    kind: "mean" averages `row_value` over rows; "confusion" applies the function called `name` in
        `harness.statistics.confusion` to the table of (reference label, answer), "counts" to the sums of what
        `Score.values` counts by label ("hits:LABEL", "references:LABEL", "answers:LABEL"); "correlation" applies the
        one in `harness.statistics.correlation` to the pairs "reference_number" and "number" of `Score.values`.
    row_value: for "mean": "correct", "lenient_correct", "format_error", "lenient_format_error" (not even a
        forgiving reader finds an answer), or a key of `Score.values`; for "counts": the word that stands for "hits".
    direction: whether larger or smaller is better.
    proportion: every row's value is 0 or 1, so that Wilson's interval and McNemar's test apply.
    positive: for one-class metrics ("f1", "precision", "recall"), the label that counts as positive.
    version: raised when the meaning changes; runs of different versions are not comparable.
    model: the model that measures it, where one does.
    low, high: the range of a graded row value, such as 0 and 1, or 1 and 10 for a judge's marks. Without both ends
        no interval can be guaranteed, and a gate gives no verdict on the metric.
    unit: what the values are counted in, for display ("words"). Values from 0 to 1 are shown in points of 100.

    Raises ValueError where `low` is not below `high`, or an end is not finite.
    """

    name: str
    kind: Kind = "mean"
    row_value: str = ""
    direction: Literal["higher", "lower"] = "higher"
    proportion: bool = True
    positive: str | None = None
    version: int = 1
    model: str | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        ends = [end for end in (self.low, self.high) if end is not None]
        if not all(map(math.isfinite, ends)) or (len(ends) == 2 and ends[0] >= ends[1]):
            raise ValueError(f"metric {self.name}: the range goes from a finite low to a finite high above it.")

    @property
    def about_format(self) -> bool:
        """Whether it asks how an answer is written: n/a where answers are scored or classified, not written."""
        return self.row_value in ("format_error", "lenient_format_error")

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The range of a row value (of the figure itself where it is no mean): (0, 1) for rates and label metrics,
        (-1, 1) for correlations; None: unbounded."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        if self.kind == "correlation":
            return -1.0, 1.0
        return (0.0, 1.0) if self.proportion or self.kind in OF_LABELS else None

    @property
    def in_points(self) -> bool:
        """Whether figures lie in 0..1 and are shown as a share of 100, their differences in points."""
        return self.bounds == (0.0, 1.0)

    @property
    def difference_unit(self) -> str:
        """What differences are counted in: "points", the metric's own unit, or "" where it has none."""
        return "points" if self.in_points else self.unit

    def same_measure(self, other: "Metric") -> bool:
        """Whether values of both may be held against each other.

        Range and unit must agree only where both declare them. Functions of a table are recomputed from the rows
        of both sides, so their versions need not agree.
        """

        def meaning(metric: Metric) -> tuple[object, ...]:
            version = metric.version if metric.kind == "mean" else 0
            what = metric.name, metric.kind, metric.row_value, metric.direction, metric.proportion
            return *what, metric.positive, metric.model, version

        ranges = self.bounds, other.bounds
        return meaning(self) == meaning(other) and (None in ranges or ranges[0] == ranges[1])


ACCURACY = Metric(name="accuracy", row_value="correct")
LENIENT_ACCURACY = Metric(name="lenient_accuracy", row_value="lenient_correct")
FORMAT_ERROR_RATE = Metric(name="format_error_rate", row_value="format_error", direction="lower")
LENIENT_FORMAT_ERROR_RATE = Metric(
    name="lenient_format_error_rate", row_value="lenient_format_error", direction="lower"
)
MACRO_F1 = Metric(name="macro_f1", kind="confusion", proportion=False, version=2)
WEIGHTED_F1 = Metric(name="weighted_f1", kind="confusion", proportion=False)
WEIGHTED_PRECISION = Metric(name="weighted_precision", kind="confusion", proportion=False)
WEIGHTED_RECALL = Metric(name="weighted_recall", kind="confusion", proportion=False)

CLASSIFICATION = (
    ACCURACY,
    MACRO_F1,
    FORMAT_ERROR_RATE,
    LENIENT_ACCURACY,
    LENIENT_FORMAT_ERROR_RATE,
    WEIGHTED_PRECISION,
    WEIGHTED_RECALL,
    WEIGHTED_F1,
)
"""What every task with a closed label set reports."""

MICRO_F1 = Metric(name="micro_f1", kind="counts", row_value="hits", proportion=False, unit="label")

TITLES = {
    "accuracy": "accuracy",
    "lenient_accuracy": "lenient accuracy",
    "format_error_rate": "format errors",
    "lenient_format_error_rate": "format errors, lenient",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "overlap_f1": "overlap F1",
    "quadratic_kappa": "quadratic kappa",
    "weighted_f1": "weighted F1",
    "weighted_precision": "weighted precision",
    "weighted_recall": "weighted recall",
}


def title(metric: str) -> str:
    """A metric's name for a heading: `macro_f1` reads "macro-F1"; unknown names lose their underscores."""
    return TITLES.get(metric, metric.replace("_", " "))


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
