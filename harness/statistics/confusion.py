"""Metrics of a confusion table, each named as the `Metric` it computes, for any number of tables at once.

A table has shape (..., labels, answers): rows are references, columns answers. Columns are in the order of
the labels; one more column at the end, "(no label)", holds the answers without a label. A macro average is taken
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


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _hits(tables: Array) -> Array:
    return np.diagonal(tables, axis1=-2, axis2=-1).astype(np.float64)


def support_per_class(tables: Array) -> Array:
    """Rows of each reference label: (..., labels)."""
    return np.asarray(tables.sum(axis=-1), dtype=np.float64)


def precision_per_class(tables: Array) -> Array:
    """Of the answers with a label, the share that is right: (..., labels)."""
    return _ratio(_hits(tables), tables.sum(axis=-2)[..., : tables.shape[-2]].astype(np.float64))


def recall_per_class(tables: Array) -> Array:
    """Of the rows of a label, the share answered so: (..., labels)."""
    return _ratio(_hits(tables), support_per_class(tables))


def f1_per_class(tables: Array) -> Array:
    """2 hits / (rows of the label + answers with the label): (..., labels)."""
    answers = tables.sum(axis=-2)[..., : tables.shape[-2]]
    return _ratio(2 * _hits(tables), support_per_class(tables) + answers)


def _weighted(per_class: Array, tables: Array) -> Array:
    support = support_per_class(tables)
    return _ratio((per_class * support).sum(axis=-1), support.sum(axis=-1))


def accuracy(tables: Array) -> Array:
    """The share of rows on the diagonal; an answer without a label is wrong."""
    return _ratio(_hits(tables).sum(axis=-1), support_per_class(tables).sum(axis=-1))


def macro_f1(tables: Array) -> Array:
    """F1 averaged over the labels that have rows, every one alike: 0 where none has any.

    A label without rows has no F1: 0 would lower the figure of a candidate that never errs.
    """
    present = support_per_class(tables) > 0
    return _ratio((f1_per_class(tables) * present).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def weighted_f1(tables: Array) -> Array:
    """F1 averaged by the rows of each class."""
    return _weighted(f1_per_class(tables), tables)


def weighted_precision(tables: Array) -> Array:
    """Precision averaged by the rows of each class."""
    return _weighted(precision_per_class(tables), tables)


def weighted_recall(tables: Array) -> Array:
    """Recall averaged by the rows of each class: equals accuracy."""
    return _weighted(recall_per_class(tables), tables)


def f1(tables: Array, positive: int) -> Array:
    """F1 of one label."""
    return f1_per_class(tables)[..., positive]


def precision(tables: Array, positive: int) -> Array:
    """Precision of one label."""
    return precision_per_class(tables)[..., positive]


def recall(tables: Array, positive: int) -> Array:
    """Recall of one label."""
    return recall_per_class(tables)[..., positive]


OF_ALL: dict[str, Callable[[Array], Array]] = {
    f.__name__: f for f in (accuracy, macro_f1, weighted_f1, weighted_precision, weighted_recall)
}
OF_ONE: dict[str, Callable[[Array, int], Array]] = {f.__name__: f for f in (f1, precision, recall)}


def confusion_metric(metric: Metric, labels: tuple[str, ...]) -> Callable[[Array], Array]:
    """The function of tables that a metric of kind "confusion" means.

    Raises UsageError: no such function, or a one-class metric whose positive label is not in the set.
    """
    if metric.name in OF_ALL:
        return OF_ALL[metric.name]
    if metric.name not in OF_ONE:
        known: list[Any] = [*OF_ALL, *OF_ONE]
        raise UsageError(
            f"metric '{metric.name}' is no function of the confusion table{did_you_mean(metric.name, known)}."
        )
    if metric.positive not in labels:
        raise UsageError(f"metric '{metric.name}' needs a positive label out of {', '.join(labels)}.")
    index, function = labels.index(metric.positive), OF_ONE[metric.name]
    return lambda tables: function(tables, index)
