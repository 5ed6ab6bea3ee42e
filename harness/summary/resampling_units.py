"""From outcomes to the units that a bootstrap of confusion tables redraws."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from harness.statistics.bootstrap import Answer, ResamplingUnits, count_units, weigh_units
from harness.statistics.confusion import ANSWERS, HITS, REFERENCES
from harness.summary.outcomes import NOT_ANSWERED, Codes, Outcomes, RowTable

STRATUM_ROWS = 50
"""A class with fewer rows varies too little when it is redrawn on its own."""


def confusion_units(rows: RowTable, sides: tuple[Outcomes, ...]) -> ResamplingUnits:
    """Units of the rows that every side has answered, one table a side.

    Rows on their own are drawn within their gold class where every class that has rows has STRATUM_ROWS at least,
    else without strata; rows of a group are drawn together, without strata (a group may span classes). A row's
    repeats weigh one row together.
    """
    units = _units(rows, sides)
    sizes = units.total[0, REFERENCES] if len(units.counts) else np.zeros(0)
    if (sizes[sizes > 0] < STRATUM_ROWS).any():
        return replace(units, strata=np.zeros_like(units.strata))
    return units


def _units(rows: RowTable, sides: tuple[Outcomes, ...]) -> ResamplingUnits:
    chosen = np.flatnonzero(np.logical_and.reduce([side.answered for side in sides]))
    answers = [side.answers[chosen] for side in sides]
    references = rows.references[chosen]
    if rows.groups is None and all(a.shape[1] == 1 for a in answers):
        return _single_answers(references, np.hstack(answers), len(rows.labels))
    if rows.groups is None:
        return weigh_units(_repeated_answers(references, answers), len(sides), len(rows.labels))
    return count_units(_groups(references, answers, rows.groups[chosen]), len(sides), len(rows.labels))


def _single_answers(references: Codes, answers: Codes, labels: int) -> ResamplingUnits:
    """The common case, counted by numpy: one answer a row and side."""
    sides = answers.shape[1]
    keys = references.copy()
    for side in range(sides):
        keys = keys * (labels + 1) + answers[:, side]
    kinds, counts = np.unique(keys, return_counts=True)
    tables = np.zeros((len(kinds), sides, 3, labels))
    of_side: list[Codes] = []
    for _ in range(sides):
        kinds, answer = np.divmod(kinds, labels + 1)
        of_side.insert(0, answer)
    each = np.arange(len(kinds))
    for side, answer in enumerate(of_side):
        tables[each, side, REFERENCES, kinds] = 1
        tables[each, side, HITS, kinds] = answer == kinds
        tables[each[answer < labels], side, ANSWERS, answer[answer < labels]] = 1
    return ResamplingUnits(
        tables=tables, counts=counts.astype(np.int64), strata=kinds.astype(np.int64), rows=np.ones(len(kinds))
    )


def _repeated_answers(references: Codes, answers: list[Codes]) -> dict[tuple[int, tuple[Answer, ...]], int]:
    """Rows of several answers, those with the same answers in any order counted together."""
    widths = [a.shape[1] for a in answers]
    alike = np.hstack([references[:, None], *(np.sort(a, axis=1) for a in answers)]).astype(np.int32)
    kinds, counts = np.unique(alike, axis=0, return_counts=True)
    found: dict[tuple[int, tuple[Answer, ...]], int] = {}
    for kind, count in zip(kinds, counts, strict=True):
        reference, *given = np.split(kind, np.cumsum([1, *widths[:-1]]))
        found[int(reference[0]), tuple(sorted(_of_row(int(reference[0]), given)))] = int(count)
    return found


def _groups(references: Codes, answers: list[Codes], groups: Codes) -> Iterator[tuple[int, tuple[Answer, ...]]]:
    """What each group adds, its rows together."""
    order = np.argsort(groups, kind="stable")
    edges = np.flatnonzero(np.diff(groups[order])) + 1
    for members in np.split(order, edges) if len(order) else []:
        yield 0, tuple(a for i in members for a in _of_row(int(references[i]), [given[i] for given in answers]))


def _of_row(reference: int, given: list[Codes]) -> Iterator[Answer]:
    """A row's answers, those of one side weighing one row together."""
    for side, of_side in enumerate(given):
        known = of_side[of_side != NOT_ANSWERED]
        yield from ((side, reference, int(answer), 1 / len(known)) for answer in known)
