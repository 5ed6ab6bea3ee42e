"""Where a candidate lost: accuracy within classes and slices, and rows that went from right to wrong. Never gated."""

from collections.abc import Sequence

import numpy as np

from harness.gating.gate_result import Diagnostic, Flip
from harness.metrics import Metric
from harness.records import Row
from harness.statistics.multiple_testing import benjamini_hochberg
from harness.statistics.noninferiority import LEVEL
from harness.summary.comparison import compare_means
from harness.summary.outcomes import Codes

from .pairing import Pairing

MOST_VALUES = 20
MOST_FLIPS = 10
TEXT = 200


def diagnostics(pairing: Pairing, columns: tuple[str, ...]) -> list[Diagnostic]:
    """Each class of the label set and each value of the named columns, p-values corrected over all of them."""
    metric = _right_or_wrong(pairing)
    if metric is None:
        return []
    found: list[tuple[str, str, int, float, float, float]] = []
    for column, value, chosen in _parts(pairing, columns):
        rows, a, b = pairing.rows.only(chosen), pairing.candidate.only(chosen), pairing.reference.only(chosen)
        c = compare_means(metric, rows, a, b, pairing.names, LEVEL)
        if c is not None:
            found.append((column, value, c.rows, c.value_a, c.value_b, c.p))
    corrected = benjamini_hochberg([p for *_, p in found])
    return [
        Diagnostic(
            backend=pairing.backend,
            column=column,
            value=value,
            rows=rows,
            candidate=a,
            reference=b,
            p=p,
            p_corrected=q,
        )
        for (column, value, rows, a, b, p), q in zip(found, corrected, strict=True)
    ]


def _right_or_wrong(pairing: Pairing) -> Metric | None:
    return next((m for m in pairing.metrics if m.row_value == "correct"), None)


Part = tuple[str, str, Codes]
"""A column, one of its values, and the rows that have it."""


def _parts(pairing: Pairing, columns: tuple[str, ...]) -> list[Part]:
    parts: list[Part] = []
    if len(pairing.rows.labels) <= MOST_VALUES:
        references = pairing.rows.references
        parts += [("class", label, np.flatnonzero(references == i)) for i, label in enumerate(pairing.rows.labels)]
    for column in columns:
        if (values := pairing.rows.columns.get(column)) is not None:
            parts += [(column, value, values.rows_of(value)) for value in sorted(values.counts())[:MOST_VALUES]]
    return [part for part in parts if len(part[2])]


def flips(pairing: Pairing, rows: Sequence[Row]) -> list[Flip]:
    """The first rows, by id, that the reference had right and the candidate has wrong."""
    metric = _right_or_wrong(pairing)
    answered = pairing.sides[0].outcomes  # a row that was not answered is no flip, though it counts as wrong
    if metric is None or metric.name not in answered.values or metric.name not in pairing.reference.values:
        return []
    here, there = answered.values[metric.name], pairing.reference.values[metric.name]
    ids = pairing.sides[0].ids
    worse = sorted(np.flatnonzero(there > here).tolist(), key=lambda n: ids[n])[:MOST_FLIPS]
    labels = (*pairing.rows.labels, "(no label)")
    lost = ((n, rows[n].sample) for n in worse)
    return [
        Flip(
            backend=pairing.backend,
            id=ids[n],
            expected=sample.reference[:TEXT],
            answered=labels[int(answered.answers[n, 0])] if pairing.rows.labels else "",
            text=" / ".join(sample.inputs.values())[:TEXT],
        )
        for n, sample in lost
    ]
