"""A candidate and its reference, row beside row."""

from dataclasses import dataclass, replace

from harness.metrics import Metric
from harness.statistics.noninferiority import LEVEL
from harness.statistics.selection import selection_level
from harness.statistics.sequential import LEVEL as WATCHED_LEVEL
from harness.summary.outcomes import Codes, Outcomes, RowTable

from .side import Side


@dataclass(frozen=True)
class Pairing:
    """A candidate and its reference on the same rows, answers that the candidate owes filled in as wrong.

    candidates: backends among which the candidate is the best on these very rows (itself too), where it may have been
    picked for that; empty where it was named beforehand.
    """

    backend: str
    rows: RowTable
    candidate: Outcomes
    reference: Outcomes
    sides: tuple[Side, Side]
    metrics: tuple[Metric, ...]
    candidates: tuple[str, ...] = ()

    def only(self, chosen: Codes) -> "Pairing":
        """The pairing on the rows at these positions; its sides stay whole."""
        rows, mine, theirs = self.rows.only(chosen), self.candidate.only(chosen), self.reference.only(chosen)
        return replace(self, rows=rows, candidate=mine, reference=theirs)

    @property
    def level(self) -> float:
        """Of the intervals that decide: for the best of several candidates they hold for all of these at once."""
        return selection_level(self.level_of_one, max(1, len(self.candidates)))

    @property
    def level_of_one(self) -> float:
        """Of one candidate's intervals: where asking could have stopped early, half of the 5 % was spent on looking."""
        return WATCHED_LEVEL if self.candidate.watched or self.reference.watched else LEVEL

    @property
    def names(self) -> tuple[str, str]:
        """Seeds of the resampling: what is compared, not where it lies."""
        return (f"candidate {self.sides[0].info.backend}", f"reference {self.sides[1].info.backend}")
