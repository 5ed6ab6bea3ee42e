"""Rows as resampling units of label metrics: their counts in the confusion table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.metrics import OF_LABELS, Metric
from harness.statistics.bootstrap import Answer, ResamplingUnits, count_units, weigh_units
from harness.statistics.confusion import ANSWERS, HITS, REFERENCES
from harness.summary.outcomes import COUNTED, NOT_ANSWERED, Array, Codes, Outcomes, RowTable

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
    answers = [side.answers[chosen].astype(np.int64) for side in sides]
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


MOST_UNITS = 4_000
"""Rows (or groups) beyond this are put together in so many blocks at random: a bootstrap of blocks of independent rows
varies as one of the rows, and its work stays bounded."""

BLOCK_SEED = 0
OF_ITEMS = ("micro_f1", "micro_precision", "micro_recall", "overlap_f1")


@dataclass(frozen=True)
class LabelUnits:
    """Metrics that are computed from the same counts, the labels of these, and the units that are drawn."""

    metrics: tuple[Metric, ...]
    labels: tuple[str, ...]
    units: ResamplingUnits


def label_units(metrics: Iterable[Metric], rows: RowTable, sides: tuple[Outcomes, ...]) -> Iterator[LabelUnits]:
    """One for each family of label metrics, of the rows that every side has answered; one table a side."""
    families: dict[tuple[str, str], list[Metric]] = {}
    for metric in metrics:
        if metric.kind in OF_LABELS:
            families.setdefault((metric.kind, metric.row_value), []).append(metric)
    for (kind, hits), members in families.items():
        if kind == "confusion":
            yield LabelUnits(tuple(members), rows.labels, confusion_units(rows, sides))
        else:
            labels = counted_labels(sides)
            yield LabelUnits(tuple(members), labels, _counted_units(hits, labels, rows, sides))


def counted_labels(sides: tuple[Outcomes, ...]) -> tuple[str, ...]:
    """The labels that references or answers have, by name."""
    starts = tuple(f"{part}:" for part in COUNTED)
    return tuple(sorted({key.split(":", 1)[1] for side in sides for key in side.values if key.startswith(starts)}))


def _counted_units(hits: str, labels: tuple[str, ...], rows: RowTable, sides: tuple[Outcomes, ...]) -> ResamplingUnits:
    chosen = np.flatnonzero(np.logical_and.reduce([side.answered for side in sides]))
    units, count, blocks = _unit_of_each_row(rows, chosen)
    tables = np.zeros((count, len(sides), 3, len(labels)))
    for s, side in enumerate(sides):
        for part, name in enumerate((hits, *COUNTED)):
            for k, label in enumerate(labels):
                key = f"{name}:{label}"
                if key in side.values:
                    tables[:, s, part, k] = np.bincount(units, side.values[key][chosen], count)
    sizes = np.bincount(units, minlength=count).astype(np.float64)
    flat = np.column_stack([sizes, tables.reshape(count, -1)])
    if not count:
        return ResamplingUnits(tables, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    alike, counts = np.unique(np.round(flat, 9), axis=0, return_counts=True)
    return ResamplingUnits(
        tables=np.asarray(alike[:, 1:], dtype=np.float64).reshape(len(alike), *tables.shape[1:]),
        counts=counts.astype(np.int64),
        strata=np.zeros(len(alike), dtype=np.int64),
        rows=np.asarray(alike[:, 0], dtype=np.float64),
        blocks=blocks,
    )


def _unit_of_each_row(rows: RowTable, chosen: Codes) -> tuple[Codes, int, bool]:
    """(n,) the unit of every chosen row, the number of units, and whether they are blocks of independent rows."""
    if rows.groups is None:
        units, count = np.arange(len(chosen)), len(chosen)
    else:
        found, units = np.unique(rows.groups[chosen], return_inverse=True)
        count = len(found)
    if count <= MOST_UNITS:
        return units, count, False
    dealt = np.random.default_rng(BLOCK_SEED).permutation(count) % MOST_UNITS
    return dealt[units], MOST_UNITS, rows.groups is None


def items_of_rows(
    metric: Metric, rows: RowTable, outcomes: Outcomes, labels: tuple[str, ...]
) -> tuple[Array, Codes] | None:
    """The items that a micro average is a rate of, and the group of each; None where it is no rate of whole items.

    Precision is a rate of answers, recall one of references, F1 = 2 J / (1 + J) with J the rate of hits among what is
    answer or reference. The items of a row depend on each other: its group, or the row itself, is theirs.
    """
    chosen = np.flatnonzero(outcomes.answered)
    if metric.name not in OF_ITEMS or outcomes.repeats > 1:
        return None
    hits, references, answers = (
        sum(
            (outcomes.values[key][chosen] for one in labels if (key := f"{part}:{one}") in outcomes.values),
            start=np.zeros(len(chosen)),
        )
        for part in (metric.row_value, *COUNTED)
    )
    asked = {"micro_precision": answers, "micro_recall": references}.get(metric.name, references + answers - hits)
    if not asked.sum() or not np.array_equal(hits, np.round(hits)):
        return None
    of = chosen if rows.groups is None else rows.groups[chosen]
    right, wrong = hits.astype(np.int64), (asked - hits).astype(np.int64)
    values = np.concatenate([np.ones(right.sum()), np.zeros(wrong.sum())])
    return values, np.concatenate([np.repeat(of, right), np.repeat(of, wrong)])
