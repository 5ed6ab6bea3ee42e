"""Is one of two answers preferred? Wins, losses and ties of rows, as an interval, a p-value and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.results import Estimate
from harness.statistics.clustered import clustered_mean
from harness.statistics.holm import holm
from harness.statistics.mcnemar import exact_p
from harness.statistics.noninferiority import ALPHA
from harness.statistics.signflip import SignFlip, cluster_sums
from harness.statistics.tango import tango_interval
from harness.summary.estimates import rate_estimate
from harness.summary.rare import RARE
from harness.summary.requirements import group_words, groups_shortfall

WORTH = {"a": 1, "b": -1, "tie": 0}
"""Of a verdict, for the first of the two."""


@dataclass(frozen=True)
class PreferenceTest:
    """difference: (wins of a - wins of b) / rows; p: of "neither is preferred", None without a row; share: of the
    decided rows, those that went to a; no_verdict: why nothing may be concluded ("" where it may)."""

    difference: Estimate
    p: float | None
    p_method: str
    share: Estimate
    no_verdict: str = ""


def test_of_preference(worths: Sequence[int], groups: Sequence[str]) -> PreferenceTest:
    """worths: 1 where a is preferred, -1 where b is, 0 for a tie, a row each; groups: of each row, equal names stand
    or fall together.

    Rows on their own: Tango's interval and the exact sign test. Rows in groups: Student's t with the bias-reduced
    standard error, and where fewer than ten groups lean to a side the sign flips of these and Tango's interval over the
    groups, whichever reaches further; below five effective groups no verdict.
    """
    values, n = np.array(worths, dtype=np.float64), len(worths)
    wins_a, wins_b = int((values > 0).sum()), int((values < 0).sum())
    if not n:
        return PreferenceTest(Estimate(value=None, method="no verdict"), None, "", rate([], []))
    share = rate([w > 0 for w in worths if w], [g for w, g in zip(worths, groups, strict=True) if w])
    if len(set(groups)) == n:
        low, high = tango_interval(wins_b, wins_a, n, 0.95)
        difference = Estimate(value=(wins_a - wins_b) / n, low=low, high=high, method="Tango 95 %", n=n)
        return PreferenceTest(difference, exact_p(wins_b, wins_a), "exact sign test", share)
    codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    mean = clustered_mean(values, codes)
    low, high = mean.interval()
    p, p_method = mean.p_two_sided(), "Student's t over groups"
    method = f"Student 95 % {group_words(mean, 'groups')}"
    sums, sizes = cluster_sums(values, codes)
    leaning = np.abs(sums) > 0
    if leaning.sum() < RARE or mean.constant:
        p, p_method = SignFlip(sums[leaning], sizes[leaning]).p_two_sided(), "sign flips of the groups that lean"
        least, most = tango_interval(int((sums < 0).sum()), int((sums > 0).sum()), len(sums), 0.95)
        low, high = max(-1.0, min(low, least)), min(1.0, max(high, most))
        method += ", widened: few groups lean"
    return PreferenceTest(
        difference=Estimate(value=mean.mean, low=low, high=high, method=method, n=n),
        p=p,
        p_method=p_method,
        share=share,
        no_verdict=groups_shortfall(mean.effective, mean.clusters),
    )


def corrected_verdicts(
    found: Sequence[tuple[str, str, PreferenceTest]],
) -> list[tuple[float | None, str]]:
    """p after Holm over all pairs (a, b, test), and the verdict on each: "a preferred" by name, or "not
    distinguishable"."""
    corrected = iter(holm([test.p for _, _, test in found if test.p is not None]))
    result = []
    for a, b, test in found:
        p = None if test.p is None else next(corrected)
        verdict = "not distinguishable"
        if p is not None and p <= ALPHA and not test.no_verdict:
            verdict = f"{a if (test.difference.value or 0) > 0 else b} preferred"
        result.append((p, verdict))
    return result


def rate(hits: Sequence[bool] | NDArray[np.bool_], groups: Sequence[str]) -> Estimate:
    """The share of hits (n,) with Wilson's interval, over groups where rows share one; undefined for no rows."""
    if not len(hits):
        return Estimate(value=None, method="no rows")
    codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    together = codes if len(set(groups)) < len(groups) else None
    return rate_estimate(np.asarray(hits, dtype=np.float64), together, 0.95)
