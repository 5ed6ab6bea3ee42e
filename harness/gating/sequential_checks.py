"""Checks of the gate that may be looked at after every row: the one place where a run that may stop early is judged.

The watch over a running run and the gate of the finished one call `judge_in_sequence` with the same rows, so that
they never disagree: what the gate could not decide does not end a run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from harness.gating.gate_settings import ERRORS, Terms
from harness.metrics import Metric
from harness.statistics.confidence_sequence import (
    LEVEL,
    Decided,
    Decision,
    SequentialUnits,
    confidence_sequence,
    decide,
)
from harness.summary.optional_stopping import bounds_of, differing_units, units_of
from harness.summary.outcomes import NOT_ANSWERED, Array, Codes, Outcomes, RowTable

ERROR_RATE = Metric(name=ERRORS, direction="lower")
"""Requests that ended in an infrastructure error, as a figure of rows."""

Kind = Literal["margin", "at_most", "at_least"]


class SequentialCheck(NamedTuple):
    """One question about a metric: its loss against the reference within a margin, or a limit of its own."""

    metric: Metric
    kind: Kind
    bound: float


class ArmValues(NamedTuple):
    """One side's rows. values: metric -> (n,) mean over the answered repeats, nan where there is none; share: (n,) of
    the repeats that were answered, the others having ended in an error."""

    values: Mapping[str, Array]
    share: Array

    @classmethod
    def of(cls, outcomes: Outcomes) -> "ArmValues":
        """Those of a log or a baseline."""
        return cls(outcomes.values, (outcomes.answers != NOT_ANSWERED).mean(axis=1))


class RowLayout(NamedTuple):
    """Groups of the rows and the order in which they are asked, as in RowTable."""

    groups: Codes | None
    turns: Codes | None

    @classmethod
    def of(cls, rows: RowTable) -> "RowLayout":
        """That of a table of rows."""
        return cls(rows.groups, rows.turns)


@dataclass(frozen=True)
class SequentialResult:
    """A check on the rows so far. decided: its first decision; undefined: rows that were answered and have no value,
    for which there is no verdict; rows: in all, and until the decision; differing: units on which the sides differ."""

    check: SequentialCheck
    units: SequentialUnits
    candidate: float
    reference: float | None
    rows: int
    decided: Decided | None
    decided_rows: int
    differing: int | None
    undefined: int = 0

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Two-sided, of the difference candidate - reference or of the candidate's own figure."""
        low, high = confidence_sequence(self.units, level)
        lower_is_better = (
            self.check.metric.direction == "lower" if self.check.kind == "margin" else (self.check.kind == "at_most")
        )
        return (-high, -low) if lower_is_better else (low, high)


def checks_of_terms(terms: Mapping[str, Terms], metrics: Iterable[Metric]) -> list[SequentialCheck]:
    """The questions that can be asked in sequence: of bounded means, and of errors."""
    found: list[SequentialCheck] = []
    for metric in (*metrics, ERROR_RATE):
        asked = terms.get(metric.name)
        if asked is None or bounds_of(metric) is None:
            continue
        kinds: tuple[Kind, ...] = ("margin", "at_most", "at_least")
        found += [SequentialCheck(metric, kind, bound) for kind in kinds if (bound := getattr(asked, kind)) is not None]
    return found


def asked_end(layout: RowLayout, sides: Iterable[Outcomes]) -> int:
    """How many rows from the beginning of the order of asking were asked of every side that stopped early."""
    ends = []
    for side in sides:
        if side.sequential:
            complete = (side.answers != NOT_ANSWERED).all(axis=1)
            known = np.flatnonzero(complete if layout.turns is None else complete[layout.turns])
            ends.append(int(known[-1]) + 1 if len(known) else 0)
    return min(ends)


def evaluate_sequentially(
    checks: list[SequentialCheck],
    layout: RowLayout,
    mine: ArmValues,
    theirs: ArmValues,
    end: int,
    *,
    within: bool,
    tests: int,
) -> list[SequentialResult]:
    """Every check on the first `end` rows of the order in which they are asked.

    An answer that the candidate owes counts as the worst there is. within: the reference is asked in the same run, and
    what it owes counts as the best; from elsewhere, its rows without an answer are passed over. tests: paired checks in
    the whole gate, over which harm is corrected.
    """
    length = len(mine.share)
    asked = np.zeros(length, dtype=np.bool_)
    asked[:end] = True
    if layout.turns is not None:
        placed = np.zeros(length, dtype=np.bool_)
        placed[layout.turns[:end]] = True
        asked = placed
    return [_one(check, layout, mine, theirs, asked, within, tests) for check in checks]


def _one(
    check: SequentialCheck,
    layout: RowLayout,
    mine: ArmValues,
    theirs: ArmValues,
    asked: np.ndarray[tuple[int], np.dtype[np.bool_]],
    within: bool,
    tests: int,
) -> SequentialResult:
    metric = check.metric
    bounds = bounds_of(metric)
    assert bounds is not None
    worst, best = bounds if metric.direction == "higher" else bounds[::-1]
    own = _worth(mine, metric, worst)
    counted = asked.copy()
    other: Array | None = None
    if check.kind == "margin":
        other = _worth(theirs, metric, best if within else np.nan)
        counted &= ~np.isnan(other)
    undefined = int((counted & np.isnan(own)).sum())
    counted &= ~np.isnan(own)
    if other is not None:
        sign, width = (1.0 if metric.direction == "higher" else -1.0), bounds[1] - bounds[0]
        values, low, high = sign * (own - other), -width, width
        passes, fails = -check.bound, 0.0
    else:
        sign = -1.0 if check.kind == "at_most" else 1.0
        values, (low, high) = sign * own, sorted((sign * bounds[0], sign * bounds[1]))
        passes = fails = sign * check.bound
    units = units_of(np.where(counted, values, np.nan), layout.groups, layout.turns, low, high)
    decided = decide(units, passes, fails, tests if other is not None else 1) if len(units.totals) else None
    return SequentialResult(
        check=check,
        units=units,
        candidate=float(own[counted].mean()) if counted.any() else float("nan"),
        reference=float(other[counted].mean()) if other is not None and counted.any() else None,
        rows=int(counted.sum()),
        decided=decided,
        decided_rows=int(units.sizes[: decided.units].sum()) if decided is not None else 0,
        differing=differing_units(units) if other is not None else None,
        undefined=undefined,
    )


def _worth(side: ArmValues, metric: Metric, owed: float) -> Array:
    """A row's value with `owed` for every answer that did not come; nan where an answer has no value of the metric."""
    if metric is ERROR_RATE or metric.name == ERRORS:
        return 1 - side.share
    values = side.values[metric.name]
    if np.isnan(owed):
        return np.where(side.share > 0, values, np.nan)
    return np.where(side.share > 0, values * side.share + owed * (1 - side.share), owed)


def overall_decision(results: list[SequentialResult]) -> tuple[Decision, int] | None:
    """What all checks of a candidate come to, and after how many rows; None: open.

    A fail decides. A pass needs every check, and one row at least that differs: without any there is nothing to judge.
    """
    if not results or any(r.undefined for r in results):
        return None
    failed = [r.decided_rows for r in results if r.decided is not None and r.decided.decision == "fail"]
    if failed:
        return "fail", min(failed)
    differing = [r.differing for r in results if r.differing is not None]
    if any(r.decided is None for r in results) or (differing and not any(differing)):
        return None
    return "pass", max(r.decided_rows for r in results)
