"""The functions of Bench that are measured: what `run` and `gate` call, on outcomes made in memory."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.gating import checks, sequential_checks
from harness.gating.gate_result import ArmInfo, CheckResult, overall
from harness.gating.gate_settings import GateSettings, Terms
from harness.gating.gate_verdict import correct_harm, mark_unchanged, no_row_differs, question_equality
from harness.gating.pairing import Arm, Pairing
from harness.metrics import ACCURACY, Metric
from harness.summary.comparison import compare_all
from harness.summary.estimates import estimate_all
from harness.summary.outcomes import Outcomes, RowTable

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Interval = tuple[float, float]

UNIT_RANGE = {"low": 0.0, "high": 1.0}
"""Of the graded metrics that are simulated."""

NAMES = ("candidate", "reference")

_TESTS: dict[str, Any] = {"tests": 1} if "tests" in inspect.signature(checks.checks_of).parameters else {}
"""Paired checks of the gate; an older `checks_of` does not ask for it."""


def unit_metric(name: str = "score") -> Metric:
    """A graded metric with values in [0, 1], declared as such where a metric can declare its range."""
    known = {field.name for field in msgspec.structs.fields(Metric)}
    declared: dict[str, Any] = {k: v for k, v in UNIT_RANGE.items() if k in known}
    return Metric(name=name, row_value=name, proportion=False, **declared)


@dataclass(frozen=True)
class Drawn:
    """One simulated evaluation: the rows and both sides' outcomes.

    key: equal for evaluations whose statistics are equal (counts of a table), so that each is computed once.
    """

    rows: RowTable
    candidate: Outcomes
    reference: Outcomes
    key: tuple[int, ...] | None = None


def row_table(references: Codes, labels: tuple[str, ...] = (), groups: Codes | None = None) -> RowTable:
    """Rows with these references, -1 where there are no labels."""
    return RowTable(labels=labels, references=references, groups=groups, columns={})


def outcomes(values: Mapping[str, Array], answers: Codes) -> Outcomes:
    """One side's outcomes. answers: (n, repeats)."""
    return Outcomes("generate", values, answers)


def by_rows(metric: Metric, candidate: Array, reference: Array, groups: Codes | None = None, repeats: int = 1) -> Drawn:
    """An evaluation by row values alone, (n,) each."""
    n = len(candidate)
    answers = np.zeros((n, repeats), dtype=np.int64)
    rows = row_table(np.full(n, -1, dtype=np.int64), groups=groups)
    return Drawn(rows, outcomes({metric.name: candidate}, answers), outcomes({metric.name: reference}, answers))


def side(name: str, result: Outcomes, **known: Any) -> Arm:
    """A side of a gate that answered everything."""
    info = ArmInfo(source=name, run=name, backend=name, model=name, decode=result.decode)
    fields: dict[str, Any] = {
        "info": info,
        "ids": [],
        "outcomes": result,
        "asked": result.answers.size,
        "unanswered": 0,
        "errors": 0,
        "cost_per_1000": None,
        "cost_basis": "",
        "tokens_per_answer": None,
        "probe": None,
        "answers_sha256": name,
    }
    needed = {f.name for f in dataclasses.fields(Arm)}
    return Arm(**{k: v for k, v in (fields | known).items() if k in needed})


def pairing(metrics: tuple[Metric, ...], drawn: Drawn) -> Pairing:
    """Both sides, row beside row."""
    sides = (side(NAMES[0], drawn.candidate), side(NAMES[1], drawn.reference))
    return Pairing(NAMES[0], drawn.rows, drawn.candidate, drawn.reference, sides, metrics)


def costly(candidate: Array, reference: Array) -> Pairing:
    """Both sides with these costs of their rows in USD, (n,) each."""
    n = len(candidate)
    drawn = by_rows(ACCURACY, np.ones(n), np.ones(n))
    pair = pairing((ACCURACY,), drawn)
    sides = tuple(
        side(name, result, cost_per_1000=1000 * float(costs.mean()), costs=costs)
        for name, result, costs in zip(NAMES, (drawn.candidate, drawn.reference), (candidate, reference), strict=True)
    )
    return dataclasses.replace(pair, sides=(sides[0], sides[1]))


def decide(found: list[CheckResult], pair: Pairing | None = None) -> str:
    """The gate's verdict over the checks of one pairing, whose answers differ in some text."""
    found = correct_harm(found)
    if pair is not None:
        found = mark_unchanged(found, [pair])
    elif no_row_differs(found):  # before texts were compared, equal outcomes were no evidence
        found = question_equality(found)
    return overall(found)


def verdict(metric: Metric, terms: Terms, drawn: Drawn) -> str:
    """What the gate says to one metric under these terms."""
    settings = GateSettings(terms={metric.name: terms})
    pair = pairing((metric,), drawn)
    return decide(checks.checks_of(pair, settings, **_TESTS), pair)


def estimate(metric: Metric, drawn: Drawn, draws: int) -> Interval | None:
    """The displayed 95 % interval of the candidate's own figure; None where none is shown."""
    found = estimate_all((metric,), drawn.rows, drawn.candidate, NAMES[0], draws)[metric.name]
    if found.value is None or (found.low is None and found.high is None):
        return None
    return (-math.inf if found.low is None else found.low), (math.inf if found.high is None else found.high)


def difference(metric: Metric, drawn: Drawn, draws: int) -> Interval | None:
    """The displayed 95 % interval of the gain (candidate better: positive); None where none is shown."""
    args = (drawn.rows, drawn.candidate, drawn.reference, NAMES)
    found = compare_all((metric,), *args, draws=draws).get(metric.name)
    if found is None or (math.isinf(found.low) and math.isinf(found.high)):
        return None
    return found.low, found.high


def stop_early(metric: Metric, margin: float, drawn: Drawn) -> tuple[str, int]:
    """The decision of a run that may stop early on rows in the order asked, and after how many rows; "" and all rows
    where there is none."""
    rows = len(drawn.candidate.values[metric.name])
    mine, theirs = (sequential_checks.ArmValues.of(side) for side in (drawn.candidate, drawn.reference))
    checks_asked = sequential_checks.checks_of_terms({metric.name: Terms(margin=margin)}, (metric,))
    layout = sequential_checks.RowLayout.of(drawn.rows)
    results = sequential_checks.evaluate_sequentially(checks_asked, layout, mine, theirs, rows, within=False, tests=1)
    return sequential_checks.overall_decision(results) or ("", rows)


def marked(drawn: Drawn, rows: int, stopped: bool) -> Drawn:
    """The first rows of a run that might have stopped early, marked so where outcomes carry such a mark."""
    known = {field.name for field in dataclasses.fields(Outcomes)}
    marks: dict[str, Any] = {k: v for k, v in (("watched", True), ("sequential", stopped)) if k in known}
    first = np.arange(rows)
    candidate, reference = (
        dataclasses.replace(side.only(first), **marks) for side in (drawn.candidate, drawn.reference)
    )
    return Drawn(drawn.rows.only(first), candidate, reference)


def use_draws(draws: int) -> None:
    """Let the gate's bootstrap draw so often: the Monte-Carlo error of a bound stays far below that of the grid."""
    for name in ("DRAWS", "MORE_DRAWS"):
        if hasattr(checks, name):
            setattr(checks, name, draws)


def remembered(function: Callable[[Drawn], Any]) -> Callable[[Drawn], Any]:
    """The function, computed once for each key."""
    known: dict[tuple[int, ...], Any] = {}

    @functools.wraps(function)
    def found(drawn: Drawn) -> Any:
        if drawn.key is None:
            return function(drawn)
        if drawn.key not in known:
            known[drawn.key] = function(drawn)
        return known[drawn.key]

    return found
