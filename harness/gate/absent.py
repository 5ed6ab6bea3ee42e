"""Rows that the candidate did not answer count as wrong: a gate must not be passed by silence."""

from dataclasses import replace

import numpy as np

from harness.metrics import Metric
from harness.summary.outcomes import NOT_ANSWERED, Array, Outcomes


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
    return replace(candidate, values=values, answers=answers)


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
