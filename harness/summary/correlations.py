"""Correlations of a run's answers with their references: the pairs of numbers, and what resampling them gives."""

from dataclasses import dataclass

import numpy as np

from harness.metrics import Metric
from harness.statistics.correlation import agreement, agreement_draws
from harness.summary.outcomes import NUMBER, REFERENCE_NUMBER, Array, Codes, Outcomes, RowTable

MOST_DRAWS = 2_000
MOST_WORK = 400_000_000
"""Draws x rows: of many rows fewer draws are made, 200 at least."""


@dataclass(frozen=True)
class Correlation:
    """A correlation of one side or two on the rows that every side has answered.

    values: (sides,); drawn: (draws, sides); sizes: (units,) rows of each unit; rows: how many; differing: units in
    which an answer is not its reference (one side), or not the other side's answer (two).
    """

    values: Array
    drawn: Array
    sizes: Array
    rows: int
    differing: int


def correlation_of(
    metric: Metric, rows: RowTable, sides: tuple[Outcomes, ...], draws: int, seed: list[int]
) -> Correlation | None:
    """None where no row was answered by every side."""
    if any(REFERENCE_NUMBER not in side.values for side in sides):
        return None
    chosen = np.logical_and.reduce([~np.isnan(side.values[REFERENCE_NUMBER]) for side in sides])
    if not chosen.any():
        return None
    references = sides[0].values[REFERENCE_NUMBER][chosen]
    answers = tuple(side.values[NUMBER][chosen] for side in sides)
    units: Codes = np.arange(len(references))
    if rows.groups is not None:
        units = np.unique(rows.groups[chosen], return_inverse=True)[1]
    function, once = agreement(metric.name), np.ones((1, len(references)))
    held = answers[1] if len(answers) > 1 else references
    differs = (answers[0] != held) & ~(np.isnan(answers[0]) & np.isnan(held))
    many = min(draws, MOST_DRAWS, max(200, MOST_WORK // len(references)))
    return Correlation(
        values=np.array([function(once, references, side)[0] for side in answers]),
        drawn=agreement_draws(function, references, answers, units, many, seed),
        sizes=np.bincount(units).astype(np.float64),
        rows=len(references),
        differing=len(np.unique(units[differs])),
    )
