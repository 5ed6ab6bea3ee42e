"""A candidate and its reference, row beside row."""

from dataclasses import dataclass

from harness.metrics import Metric
from harness.summary.outcomes import Outcomes, RowTable

from .side import Side


@dataclass(frozen=True)
class Pairing:
    """A candidate and its reference on the same rows, answers that the candidate owes filled in as wrong."""

    backend: str
    rows: RowTable
    candidate: Outcomes
    reference: Outcomes
    sides: tuple[Side, Side]
    metrics: tuple[Metric, ...]

    @property
    def names(self) -> tuple[str, str]:
        """Seeds of the resampling: what is compared, not where it lies."""
        return (f"candidate {self.sides[0].info.backend}", f"reference {self.sides[1].info.backend}")
