"""What a task measures, as data: each metric is a mean of per-row values or a function of the confusion table."""

from typing import Literal

from harness.records import Record

Kind = Literal["mean", "confusion"]


class Metric(Record, frozen=True, kw_only=True):
    """A metric of a task.

    name: as shown and as named in `[gate]`.
    kind: "mean" averages `row_value` over rows; "confusion" applies the function called `name` in
        `harness.statistics.confusion` to the table of (reference label, answer).
    row_value: for "mean": "correct", "lenient_correct", "format_error", "lenient_format_error" (not even a
        forgiving reader finds an answer), or a key of `Score.values`.
    direction: whether larger or smaller is better.
    proportion: every row's value is 0 or 1, so that Wilson's interval and McNemar's test apply.
    positive: for one-class metrics ("f1", "precision", "recall"), the label that counts as positive.
    version: raised when the meaning changes; runs of different versions are not comparable.
    model: the model that measures it, where one does.
    """

    name: str
    kind: Kind = "mean"
    row_value: str = ""
    direction: Literal["higher", "lower"] = "higher"
    proportion: bool = True
    positive: str | None = None
    version: int = 1
    model: str | None = None

    @property
    def about_format(self) -> bool:
        """Whether it asks how an answer is written: n/a where answers are scored or classified, not written."""
        return self.row_value in ("format_error", "lenient_format_error")


ACCURACY = Metric(name="accuracy", row_value="correct")
LENIENT_ACCURACY = Metric(name="lenient_accuracy", row_value="lenient_correct")
FORMAT_ERROR_RATE = Metric(name="format_error_rate", row_value="format_error", direction="lower")
LENIENT_FORMAT_ERROR_RATE = Metric(
    name="lenient_format_error_rate", row_value="lenient_format_error", direction="lower"
)
MACRO_F1 = Metric(name="macro_f1", kind="confusion", proportion=False)
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
