"""Who is better than whom: paired tests of all backends, their ranks, and the differences that the rows detect."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from harness.metrics import Estimate, Metric
from harness.results import BackendResult, PairResult
from harness.statistics.multiple_testing import compact_letters, holm
from harness.statistics.noninferiority import ALPHA
from harness.statistics.power_analysis import smallest_difference
from harness.summary.comparison import Comparison, compare_all
from harness.summary.detectable_difference import detectable
from harness.summary.outcomes import Outcomes, RowTable

Verdict = Literal["a better", "b better", "not distinguishable"]


def pair_results(metrics: tuple[Metric, ...], rows: RowTable, outcomes: dict[str, Outcomes]) -> tuple[PairResult, ...]:
    """All pairs of backends for all metrics, on the rows both answered; Holm over the pairs of each metric."""
    compared = {
        (a, b): compare_all(metrics, rows, outcomes[a], outcomes[b], (a, b)) for a, b in combinations(outcomes, 2)
    }
    return correct_pairs(metrics, compared)


def correct_pairs(
    metrics: tuple[Metric, ...], compared: dict[tuple[str, str], dict[str, Comparison]]
) -> tuple[PairResult, ...]:
    """Comparisons of named pairs as stored in results: metric by metric, each corrected over its pairs."""
    found: list[PairResult] = []
    for metric in metrics:
        of_metric = {pair: c[metric.name] for pair, c in compared.items() if metric.name in c}
        corrected = holm([c.p for c in of_metric.values()])
        for ((a, b), comparison), p_holm in zip(of_metric.items(), corrected, strict=True):
            found.append(as_pair(a, b, comparison, p_holm))
    return tuple(found)


def as_pair(a: str, b: str, c: Comparison, p_holm: float) -> PairResult:
    """A comparison as stored in the summary: the plain difference a - b, whatever the metric's direction."""
    sign = 1 if c.metric.direction == "higher" else -1
    low, high = sorted((sign * c.low, sign * c.high))
    verdict: Verdict = "not distinguishable"
    if p_holm <= ALPHA and c.gain != 0 and not c.no_verdict:
        verdict = "a better" if c.gain > 0 else "b better"
    return PairResult(
        a=a,
        b=b,
        metric=c.metric.name,
        rows=c.rows,
        difference=Estimate(
            value=sign * c.gain + 0.0,  # never -0.0
            low=low if math.isfinite(low) else None,
            high=high if math.isfinite(high) else None,
            method=c.method,
            n=c.rows,
        ),
        p=c.p,
        p_method=c.p_method,
        p_holm=p_holm,
        only_a=c.only_a,
        only_b=c.only_b,
        detectable=detectable(c),
        verdict=verdict,
        no_verdict=c.no_verdict,
    )


def better_of(pair: PairResult) -> str | None:
    """Which of the two is better; None without a significant difference."""
    return {"a better": pair.a, "b better": pair.b}.get(pair.verdict)


def ranks(headline: Metric, pairs: tuple[PairResult, ...], results: dict[str, BackendResult]) -> dict[str, int]:
    """1 + the number of backends that are shown to be better; without a figure there is no place."""
    measured = [n for n, r in results.items() if r.metrics.get(headline.name, Estimate(value=None)).value is not None]
    places = dict.fromkeys(measured, 1)
    for pair in pairs:
        if pair.metric == headline.name and pair.verdict != "not distinguishable":
            places[pair.b if pair.verdict == "a better" else pair.a] += 1
    return places


def letters(order: Sequence[str], headline: Metric, pairs: tuple[PairResult, ...]) -> dict[str, str]:
    """Compact letters of the measured backends by the headline metric, `a` from the beginning of `order`."""
    different = [
        frozenset((p.a, p.b)) for p in pairs if p.metric == headline.name and p.verdict != "not distinguishable"
    ]
    return compact_letters(order, different)


def alone_detectable(headline: Metric, results: dict[str, BackendResult]) -> float | None:
    """With one backend: the difference detected against another of its accuracy with errors on independent rows."""
    if len(results) != 1 or not headline.proportion:
        return None
    figure = next(iter(results.values())).metrics.get(headline.name)
    if figure is None or figure.value is None:
        return None
    return smallest_difference(figure.n, 2 * figure.value * (1 - figure.value))
