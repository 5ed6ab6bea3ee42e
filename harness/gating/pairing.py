"""A candidate and its reference row by row; rows that the candidate did not answer count as wrong."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.gating.arm import Arm
from harness.metrics import Metric
from harness.statistics.confidence_sequence import LEVEL as WATCHED_LEVEL
from harness.statistics.multiple_testing import selection_level
from harness.statistics.noninferiority import LEVEL
from harness.summary.outcomes import (
    NOT_ANSWERED,
    NUMBER,
    REFERENCE_NUMBER,
    Array,
    Codes,
    Outcomes,
    RowTable,
)


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
    sides: tuple[Arm, Arm]
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


def fill_missing(candidate: Outcomes, reference: Outcomes, metrics: tuple[Metric, ...], labels: int) -> Outcomes:
    """These metrics of the candidate with the worst value on every answer it owes.

    A row owing some repeats is worth their mean. The worst is 0 or 1 for right/wrong metrics, else the worst value seen
    on either side.
    """
    share = (candidate.answers != NOT_ANSWERED).mean(axis=1)
    owing = share < 1
    if not owing.any():
        return candidate
    by_name = {m.name: m for m in metrics}
    values: dict[str, Array] = {}
    for name in filter(by_name.__contains__, candidate.values):
        given = candidate.values[name]
        worst = _worst(by_name[name], given, reference.values.get(name))
        filled = np.where(np.isnan(given), worst, given) * share + worst * (1 - share)
        values[name] = np.where(owing, filled, given)
    answers = np.where(candidate.answers == NOT_ANSWERED, labels, candidate.answers)
    values |= _without_hits(candidate, reference, owing, share)
    return replace(candidate, values=values, answers=answers)


def _without_hits(candidate: Outcomes, reference: Outcomes, owing: NDArray[np.bool_], share: Array) -> dict[str, Array]:
    """What label counts and correlations are computed from, where answers are owed: the references are those of the
    other side (or of the answers that are there), the answers add nothing."""
    found: dict[str, Array] = {}
    for key in {k for side in (candidate, reference) for k in side.values if ":" in k}:
        nothing = np.full(len(owing), np.nan)
        given = candidate.values.get(key, nothing)
        other = reference.values.get(key, nothing)
        if key == REFERENCE_NUMBER:
            found[key] = np.where(np.isnan(given), other, given)
        elif key == NUMBER:
            found[key] = given
        elif key.startswith("references:"):
            found[key] = np.nan_to_num(np.where(np.isnan(given), other, given))
        else:
            found[key] = np.where(owing, np.nan_to_num(given) * share, given)
    return found


def _worst(metric: Metric, given: Array, other: Array | None) -> float:
    if metric.proportion:
        return 0.0 if metric.direction == "higher" else 1.0
    seen = np.concatenate([given, other if other is not None else given])
    seen = seen[~np.isnan(seen)]
    if not len(seen):
        return float("nan")
    return float(seen.min() if metric.direction == "higher" else seen.max())


def undefined(metric: Metric, candidate: Outcomes, reference: Outcomes) -> int:
    """Rows where the reference has a value of the metric and the candidate answered without getting one."""
    if metric.kind != "mean" or metric.name not in candidate.values or metric.name not in reference.values:
        return 0
    lacking = np.isnan(candidate.values[metric.name]) & ~np.isnan(reference.values[metric.name])
    return int((lacking & candidate.answered).sum())
