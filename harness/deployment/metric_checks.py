"""Equivalence of the task's metrics on both sides."""

import math

import msgspec
import numpy as np

from harness.deployment.parity_result import ParityCheck
from harness.metrics import Metric
from harness.runs.run_log import RunLog
from harness.statistics.equivalence import equivalence_verdict, rows_for_equal_means, rows_for_equivalence
from harness.statistics.multiple_testing import holm
from harness.statistics.noninferiority import LEVEL
from harness.summary.comparison import Comparison, compare_all
from harness.summary.log_aggregate import tally_of
from harness.summary.outcomes import RowTable


def metric_checks(
    metrics: tuple[Metric, ...],
    table: RowTable,
    reference: tuple[RunLog, str],
    served: tuple[RunLog, str],
    margin: float,
) -> tuple[ParityCheck, ...]:
    """All metrics that are shares, those that decide first. margin: as a share.

    The headline and the format errors decide, as in the gate; the others are shown.
    """
    shown = tuple(m for m in metrics if m.in_points)
    gated = {m.name for m in shown[:1]} | {m.name for m in shown if m.row_value == "format_error"}
    sides = [tally_of(log, name, metrics, len(table)).outcomes.build() for log, name in (served, reference)]
    both = np.flatnonzero(sides[0].answered & sides[1].answered)
    rows, (mine, theirs) = table.only(both), (side.only(both) for side in sides)
    found = compare_all(shown, rows, mine, theirs, (served[1], reference[1]), level=LEVEL)
    decisive = [name for name in found if name in gated]
    corrected = dict(zip(decisive, holm([found[name].p for name in decisive]), strict=True))
    checks = [_check(c, margin, name in gated, corrected.get(name)) for name, c in found.items()]
    return tuple(sorted(checks, key=lambda check: not check.gated))


def _check(c: Comparison, margin: float, gated: bool, p: float | None) -> ParityCheck:
    sign = 1 if c.metric.direction == "higher" else -1
    low, high = sorted((sign * c.low, sign * c.high))
    check = ParityCheck(
        metric=c.metric.name,
        gated=gated,
        rows=c.rows,
        reference=c.value_b,
        served=c.value_a,
        difference=sign * c.gain + 0.0,
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        level=LEVEL,
        method=c.method,
        margin=margin,
        verdict="not shown yet",
        p=p,
        no_verdict=c.no_verdict,
    )
    if c.no_verdict:
        return check
    verdict = equivalence_verdict(low, high, margin, 1.0 if p is None else p)
    needed = _needed(c, margin) if verdict == "not shown yet" else None
    return msgspec.structs.replace(check, verdict=verdict, needed_rows=needed)


def _needed(c: Comparison, margin: float) -> int | None:
    if c.only_a is not None and c.only_b is not None:
        return rows_for_equivalence(margin, (c.only_a + c.only_b) / c.rows, c.gain)
    if not math.isfinite(c.variance) or not c.variance > 0:
        return None
    return rows_for_equal_means(margin, c.variance, c.gain)
