"""Inference at every moment: confidence sequences by betting, anytime p-values, a change detector."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.statistics.noninferiority import ALPHA as GATE_ALPHA

Array = NDArray[np.float64]

STAKES = np.geomspace(0.08, 0.8, 6)
"""The best stake is about the distance from the supposed mean over the variance. Below 1 the wealth stays positive."""

BISECTIONS = 25


@dataclass(frozen=True)
class SequentialUnits:
    """Units in the order in which they came.

    totals: (n,) sum of the values of each unit's rows; sizes: (n,) its rows; low, high: the range of a row's value;
    most: rows of the largest unit, those included that did not come: it must not depend on the values.
    """

    totals: Array
    sizes: Array
    low: float
    high: float
    most: float = 1.0

    @property
    def mean(self) -> float:
        """Of the rows; nan without any."""
        rows = float(self.sizes.sum())
        return float(self.totals.sum()) / rows if rows else math.nan

    @property
    def mirrored(self) -> "SequentialUnits":
        """The same with the sign of every value turned: bets that the mean is low become bets that it is high."""
        return SequentialUnits(-self.totals, self.sizes, -self.high, -self.low, self.most)


def log_wealth(units: SequentialUnits, null: float, stakes: Array = STAKES) -> Array:
    """(n,) logarithm of the wealth after each unit, from betting against "the mean of the rows is `null` or less".

    null lies in (low, high]; at low itself nothing can be bet against.
    """
    room = null - units.low
    if room <= 0:
        return np.full(len(units.totals), math.inf)
    gain = (units.totals - units.sizes * null) / (units.most * room)
    paths = np.log1p(np.multiply.outer(gain, stakes)).cumsum(axis=0)
    highest = paths.max(axis=1)
    return np.asarray(highest + np.log(np.exp(paths - highest[:, None]).mean(axis=1)))


def anytime_p(units: SequentialUnits, null: float) -> float:
    """One-sided p of "the mean is `null` or less" that may be looked at after every unit."""
    if not len(units.totals):
        return 1.0
    return float(min(1.0, math.exp(-float(log_wealth(units, null).max()))))


def first_crossing(units: SequentialUnits, null: float, alpha: float) -> int | None:
    """After how many units the wealth against "the mean is `null` or less" first reached 1/alpha."""
    reached = np.flatnonzero(log_wealth(units, null) >= -math.log(alpha))
    return int(reached[0]) + 1 if len(reached) else None


def confidence_sequence(units: SequentialUnits, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval at the last unit: at every moment together it holds with probability `level`."""
    alpha = (1 - level) / 2
    return _lower(units, alpha), -_lower(units.mirrored, alpha)


def _lower(units: SequentialUnits, alpha: float) -> float:
    """The largest mean that a bettor has ever refuted."""
    low, high = units.low, units.high
    if first_crossing(units, low + 1e-9 * (high - low), alpha) is None:
        return low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if first_crossing(units, middle, alpha) is None:
            high = middle
        else:
            low = middle
    return low


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


def decide(units: SequentialUnits, pass_above: float, fail_below: float, tests: int = 1) -> Decided | None:
    """The first decision on "the mean is above `pass_above`" (pass) and "it is below `fail_below`" (fail); None: open.

    tests: over so many checks the fails are corrected (Bonferroni); passing needs all of them, and no correction.
    """
    passed = first_crossing(units, pass_above, ALPHA)
    failed = first_crossing(units.mirrored, -fail_below, ALPHA / tests)
    if passed is not None and (failed is None or passed <= failed):
        return Decided("pass", passed)
    return None if failed is None else Decided("fail", failed)


def change_log_wealth(batches: Sequence[SequentialUnits], null: float) -> Array:
    """(batches,) logarithm of the wealth after each batch, from betting against "no batch's mean exceeds `null`".

    null lies in (low, high]: at low itself nothing can be bet against.
    """
    if not batches:
        return np.zeros(0)
    before = np.zeros((len(batches) + 1, len(STAKES)))
    before[1:] = np.cumsum([_log_gain(units, null) for units in batches], axis=0)
    start = np.arange(1, len(batches) + 1)
    weights = -np.log(start * (start + 1.0))
    found = np.empty(len(batches))
    for ended in range(1, len(batches) + 1):
        bets = np.logaddexp.reduce(before[ended] - before[:ended], axis=1) - math.log(len(STAKES))
        found[ended - 1] = np.logaddexp.reduce(np.append(weights[:ended] + bets, -math.log(ended + 1)))
    return found


def first_alarm(batches: Sequence[SequentialUnits], null: float, alpha: float) -> int | None:
    """After how many batches the wealth first reached 1/alpha; None: never."""
    reached = np.flatnonzero(change_log_wealth(batches, null) >= -math.log(alpha))
    return int(reached[0]) + 1 if len(reached) else None


def _log_gain(units: SequentialUnits, null: float) -> Array:
    """(stakes,) logarithm of what each stake's wealth is multiplied by in one batch."""
    gain = (units.totals - units.sizes * null) / (units.most * (null - units.low))
    return np.asarray(np.log1p(np.multiply.outer(gain, STAKES)).sum(axis=0))
