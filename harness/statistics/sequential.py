"""When to stop asking: a verdict on a mean that may be looked at after every row.

Two bets run side by side (`confidence_sequence`): one that the mean lies above what passes, one that it lies below what
fails; the first of them to reach its 1/alpha decides. Each errs with probability alpha at most, however often one
looks. Not to be mixed with tests of a fixed number of rows at their full level on the same data: see ALPHA.
"""

from dataclasses import dataclass
from typing import Literal

from harness.statistics.confidence_sequence import Units, first_crossing
from harness.statistics.noninferiority import ALPHA as GATE_ALPHA

Decision = Literal["pass", "fail"]

ALPHA = GATE_ALPHA / 2
"""Of a run that may stop early half of the gate's 5 % is spent on the looks, and half on the test of a fixed number of
rows where it went on to its end: both together keep 5 %."""

LEVEL = 1 - 2 * ALPHA
"""Of the two-sided interval whose ends are one-sided bounds at ALPHA."""


@dataclass(frozen=True)
class Decided:
    """A decision, and after how many units it was reached."""

    decision: Decision
    units: int


def decide(units: Units, pass_above: float, fail_below: float, tests: int = 1) -> Decided | None:
    """The first decision on "the mean is above `pass_above`" (pass) and "it is below `fail_below`" (fail); None: open.

    tests: over so many checks the fails are corrected (Bonferroni); passing needs all of them, and no correction.
    """
    passed = first_crossing(units, pass_above, ALPHA)
    failed = first_crossing(units.mirrored, -fail_below, ALPHA / tests)
    if passed is not None and (failed is None or passed <= failed):
        return Decided("pass", passed)
    return None if failed is None else Decided("fail", failed)
