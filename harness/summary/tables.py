"""From outcomes to the units that a bootstrap of confusion tables redraws."""

from collections.abc import Iterator

import numpy as np

from harness.statistics.units import Answer, Units, count_units
from harness.summary.outcomes import NOT_ANSWERED, Codes, Outcomes, RowTable


def confusion_units(rows: RowTable, sides: tuple[Outcomes, ...]) -> Units:
    """Units of the rows that every side has answered, one table a side.

    Rows on their own are drawn within their gold class; rows of a group are drawn together, then without strata
    (a group may span classes). A row's repeats weigh one row together.
    """
    chosen = np.flatnonzero(np.logical_and.reduce([side.answered for side in sides]))
    answers = [side.answers[chosen] for side in sides]
    references = rows.references[chosen]
    if rows.groups is None and all(a.shape[1] == 1 for a in answers):
        return _single_answers(references, np.hstack(answers), len(rows.labels))
    units = _units(references, answers, None if rows.groups is None else rows.groups[chosen])
    return count_units(units, len(sides), len(rows.labels))


def _single_answers(references: Codes, answers: Codes, labels: int) -> Units:
    """The common case, counted by numpy: one answer a row and side."""
    kinds, counts = np.unique(np.column_stack([references, answers]), axis=0, return_counts=True)
    sides = answers.shape[1]
    tables = np.zeros((len(kinds), sides, labels, labels + 1))
    for side in range(sides):
        tables[np.arange(len(kinds)), side, kinds[:, 0], kinds[:, side + 1]] = 1
    return Units(tables=tables, counts=counts.astype(np.int64), strata=kinds[:, 0].astype(np.int64))


def _units(references: Codes, answers: list[Codes], groups: Codes | None) -> Iterator[tuple[int, tuple[Answer, ...]]]:
    gathered: dict[int, list[Answer]] = {}
    for i, reference in enumerate(references):
        mine: list[Answer] = []
        for side, of_side in enumerate(answers):
            given = of_side[i][of_side[i] != NOT_ANSWERED]
            mine += [(side, int(reference), int(answer), 1 / len(given)) for answer in given]
        if groups is None:
            yield int(reference), tuple(mine)
        else:
            gathered.setdefault(int(groups[i]), []).extend(mine)
    for together in gathered.values():
        yield 0, tuple(together)
