"""One label of a closed set that has an order, from the lowest to the highest: an answer may be off by one."""

from dataclasses import dataclass

import msgspec

from harness.metrics import ACCURACY, CLASSIFICATION, FORMAT_ERROR_RATE, LENIENT_ACCURACY, MACRO_F1, Metric
from harness.records import Completion, Score
from harness.scoring.answer_forms import LabelForm
from harness.scoring.number_form import RANK_CORRELATION

QUADRATIC_KAPPA = Metric(name="quadratic_kappa", kind="correlation", proportion=False)
WITHIN_ONE = Metric(name="within_one", row_value="within_one")


@dataclass(frozen=True)
class OrdinalForm(LabelForm):
    """The labels are levels 0, 1, ..; an answer without a label is as far from its reference as a level can be."""

    def metrics(self) -> tuple[Metric, ...]:
        """Right, off by one at most, levels off, kappa."""
        return (
            ACCURACY,
            QUADRATIC_KAPPA,
            WITHIN_ONE,
            self._level_error,
            FORMAT_ERROR_RATE,
            LENIENT_ACCURACY,
            MACRO_F1,
        )

    def further_metrics(self) -> tuple[Metric, ...]:
        """Those of any label, and the rank correlation."""
        return (RANK_CORRELATION, *CLASSIFICATION)

    @property
    def _level_error(self) -> Metric:
        return Metric(
            name="level_error",
            row_value="level_error",
            direction="lower",
            proportion=False,
            low=0.0,
            high=float(len(self.labels) - 1),
            unit="levels",
        )

    def score(self, completion: Completion, reference: str) -> Score:
        """As for any label; values: "number" and "reference_number" are the levels."""
        score = super().score(completion, reference)
        if not reference:
            return score
        last, expected = len(self.labels) - 1, self.labels.index(reference)
        given = self.labels.index(score.answer) if score.answer is not None and score.format is None else None
        off = max(expected, last - expected) if given is None else abs(given - expected)
        values = {"reference_number": float(expected), "level_error": float(off), "within_one": float(off <= 1)}
        if given is None:
            values["within_one"] = 0.0
        else:
            values["number"] = float(given)
        return msgspec.structs.replace(score, values=values)
