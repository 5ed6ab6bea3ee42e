"""Metrics of labels, each named as the `Metric` it computes, for any number of tables at once.

All are functions of label counts, an array of shape (..., 3, labels): for every label its hits (it is reference and
answer), the rows that have it as reference, and the answers that give it. A confusion table has one reference and at
most one answer a row (`counts_of_table`); sets of labels, spans and fields have any number. A macro average is taken
over the labels that have rows; a division by zero gives 0. All functions return an array of shape (...).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError, did_you_mean
from harness.metrics import Metric

Array = NDArray[np.float64]
NO_LABEL = "(no label)"
HITS, REFERENCES, ANSWERS = range(3)
"""Rows of label counts."""


def counts_of_table(tables: Array) -> Array:
    """Label counts (..., 3, labels) of confusion tables (..., labels, labels + 1): rows are references, columns answers
    in the order of the labels; the last column holds the answers without a label."""
    labels = tables.shape[-2]
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    return np.stack([hits, tables.sum(axis=-1), tables.sum(axis=-2)[..., :labels]], axis=-2).astype(np.float64)


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def support_per_class(counts: Array) -> Array:
    """Rows of each reference label: (..., labels)."""
    return counts[..., REFERENCES, :]


def precision_per_class(counts: Array) -> Array:
    """Of the answers that give a label, the share that is right: (..., labels)."""
    return _ratio(counts[..., HITS, :], counts[..., ANSWERS, :])


def recall_per_class(counts: Array) -> Array:
    """Of the rows of a label, the share answered so: (..., labels)."""
    return _ratio(counts[..., HITS, :], counts[..., REFERENCES, :])


def f1_per_class(counts: Array) -> Array:
    """2 hits / (rows of the label + answers with the label): (..., labels)."""
    return _ratio(2 * counts[..., HITS, :], counts[..., REFERENCES, :] + counts[..., ANSWERS, :])


def _weighted(per_class: Array, counts: Array) -> Array:
    support = support_per_class(counts)
    return _ratio((per_class * support).sum(axis=-1), support.sum(axis=-1))


def accuracy(counts: Array) -> Array:
    """The share of references that are answered; an answer without a label is wrong."""
    return micro_recall(counts)


def micro_recall(counts: Array) -> Array:
    """Of all references, the share that is answered."""
    return _ratio(counts[..., HITS, :].sum(axis=-1), counts[..., REFERENCES, :].sum(axis=-1))


def micro_precision(counts: Array) -> Array:
    """Of all answers, the share that is right."""
    return _ratio(counts[..., HITS, :].sum(axis=-1), counts[..., ANSWERS, :].sum(axis=-1))


def micro_f1(counts: Array) -> Array:
    """2 hits / (references + answers), of all labels together."""
    return _ratio(2 * counts[..., HITS, :].sum(axis=-1), counts[..., REFERENCES:, :].sum(axis=(-2, -1)))


def macro_f1(counts: Array) -> Array:
    """F1 averaged over the labels that have rows, every one alike: 0 where none has any.

    A label without rows has no F1: 0 would lower the figure of a candidate that never errs.
    """
    present = support_per_class(counts) > 0
    return _ratio((f1_per_class(counts) * present).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def weighted_f1(counts: Array) -> Array:
    """F1 averaged by the rows of each class."""
    return _weighted(f1_per_class(counts), counts)


def weighted_precision(counts: Array) -> Array:
    """Precision averaged by the rows of each class."""
    return _weighted(precision_per_class(counts), counts)


def weighted_recall(counts: Array) -> Array:
    """Recall averaged by the rows of each class: equals accuracy."""
    return _weighted(recall_per_class(counts), counts)


def f1(counts: Array, positive: int) -> Array:
    """F1 of one label."""
    return f1_per_class(counts)[..., positive]


def precision(counts: Array, positive: int) -> Array:
    """Precision of one label."""
    return precision_per_class(counts)[..., positive]


def recall(counts: Array, positive: int) -> Array:
    """Recall of one label."""
    return recall_per_class(counts)[..., positive]


OF_ALL: dict[str, Callable[[Array], Array]] = {
    f.__name__: f for f in (accuracy, macro_f1, weighted_f1, weighted_precision, weighted_recall)
}
OF_SETS: dict[str, Callable[[Array], Array]] = {
    "micro_f1": micro_f1,
    "micro_precision": micro_precision,
    "micro_recall": micro_recall,
    "macro_f1": macro_f1,
    "overlap_f1": micro_f1,
}
"""Of rows that have any number of labels, fields or spans (metrics of kind "counts")."""
OF_ONE: dict[str, Callable[[Array, int], Array]] = {f.__name__: f for f in (f1, precision, recall)}


def label_metric(metric: Metric, labels: tuple[str, ...]) -> Callable[[Array], Array]:
    """The function of label counts that a metric of kind "confusion" or "counts" means.

    Raises UsageError: no such function, or a one-class metric whose positive label is not in the set.
    """
    of_all = OF_SETS if metric.kind == "counts" else OF_ALL
    if metric.name in of_all:
        return of_all[metric.name]
    if metric.name not in OF_ONE:
        known: list[Any] = [*of_all, *OF_ONE]
        raise UsageError(f"metric '{metric.name}' is no function of label counts{did_you_mean(metric.name, known)}.")
    if metric.positive not in labels:
        raise UsageError(f"metric '{metric.name}' needs a positive label out of {', '.join(labels)}.")
    index, function = labels.index(metric.positive), OF_ONE[metric.name]
    return lambda counts: function(counts, index)
