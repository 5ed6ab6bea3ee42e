"""Whether two sets of rows come from one distribution: how well a classifier tells them apart.

D. Lopez-Paz and M. Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017 (arXiv 1610.06545): a classifier is
fitted on one half of both sets and judged on the other; where the sets are alike it does no better than chance. Here it
is judged by the area under its ROC curve, which needs no threshold and no equal sizes, with the variance of E. R.
DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics 1988, 44:837. Only one half is judged: both directions of a
swap of the halves rest on the same agreement of both, so their mean would be no more certain.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from harness.statistics.proportions import clopper_pearson

Array = NDArray[np.float64]


class AreaUnderCurve(NamedTuple):
    """The probability that a row of the second set scores above one of the first, with its interval."""

    value: float
    low: float
    high: float


def area_under_curve(first: Array, second: Array, level: float = 0.95) -> AreaUnderCurve:
    """AUC of scores of two independent sets, (n,) and (m,), ties counted half, with DeLong's interval.

    Where no pair is out of order DeLong's variance is 0: the bound is then Clopper and Pearson's for as many pairs as
    the smaller set has rows.
    """
    n, m = len(first), len(second)
    ranks = rankdata(np.concatenate([first, second]))
    below = (ranks[n:] - rankdata(second)) / n  # of each second row: share of first rows below it
    above = 1 - (ranks[:n] - rankdata(first)) / m
    value = float(below.mean())
    variance = float(below.var(ddof=1) / m + above.var(ddof=1) / n) if min(n, m) > 1 else math.inf
    if variance == 0:
        low, high = clopper_pearson(value * min(n, m), min(n, m), level)
        return AreaUnderCurve(value, low, high)
    half = float(ndtri(0.5 + level / 2)) * math.sqrt(variance)
    return AreaUnderCurve(value, max(0.0, value - half), min(1.0, value + half))


class TwoSampleScores(NamedTuple):
    """auc: on the half that the classifier has not seen. odds: (n,) of the first set's rows, how much more often rows
    like it occur in the second set than in the first, each judged by a classifier that has not seen it."""

    auc: AreaUnderCurve
    odds: Array


def classifier_two_sample(first: Any, second: Any, make: Any, seed: int = 0, level: float = 0.95) -> TwoSampleScores:
    """Tell two sets of rows apart. first, second: lists or arrays of what `make()`'s classifier takes.

    make: returns a new classifier with `fit(rows, labels)` and `predict_proba(rows)`, features included, so that they
    are taken from the fitted half alone.
    """
    rng = np.random.default_rng(seed)
    halves = [rng.permutation(len(rows)) % 2 for rows in (first, second)]
    odds = np.empty(len(first))
    judged: list[tuple[Array, Array]] = []
    prior = len(first) / len(second)
    for fitted in (0, 1):
        rows = [*_take(first, halves[0] == fitted), *_take(second, halves[1] == fitted)]
        known = [0] * int((halves[0] == fitted).sum()) + [1] * int((halves[1] == fitted).sum())
        classifier = make().fit(rows, known)
        scores = [
            np.asarray(classifier.predict_proba(_take(rows, half != fitted))[:, 1], dtype=np.float64)
            for rows, half in ((first, halves[0]), (second, halves[1]))
        ]
        judged.append((scores[0], scores[1]))
        probability = np.clip(scores[0], 1e-6, 1 - 1e-6)
        odds[halves[0] != fitted] = prior * probability / (1 - probability)
    return TwoSampleScores(area_under_curve(*judged[0], level), odds)


def _take(rows: Any, chosen: NDArray[np.bool_]) -> list[Any]:
    return [row for row, keep in zip(rows, chosen, strict=True) if keep]
