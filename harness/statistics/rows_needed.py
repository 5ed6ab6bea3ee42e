"""How many rows a gate would need, and which verdict they would bring.

A non-inferiority gate decides in two ways: it passes once the lower bound lies within the margin, and it fails once
the loss itself is shown. A loss near the margin takes forever to pass and fails soon, so the smaller of both counts.
"""

import math
from typing import Literal, NamedTuple

from harness.statistics.distributions import normal_quantile
from harness.statistics.noninferiority import ALPHA
from harness.statistics.power_analysis import POWER, rows_to_fail, rows_to_pass

BETTING = 1.1
"""Rows that bets within a range take beyond a normal test: this times log(1 / alpha) x range / distance. A stake stays
below 1 / range, so that even without any spread the wealth grows by distance / range a row at most (Waudby-Smith and
Ramdas, arXiv 2010.09686). Simulated at spreads of 0.02 to 0.2 and margins of 0.02 and 0.05: 85 to 95 % power."""


class RowsNeeded(NamedTuple):
    """Rows in all that would probably decide, and how."""

    rows: int
    verdict: Literal["pass", "fail"]


def least_rows_to_pass(margin: float, alpha: float = ALPHA) -> int:
    """The fewest independent rows that pass a margin of a rate at all: when not one row differs.

    Tango's bound of n rows without a difference is z^2 / (n + z^2) (T. Tango, Statistics in Medicine 1998, 17:891, both
    discordant counts 0), so n > z^2 (1 - margin) / margin: 268 rows for 1 point, 133 for 2.
    """
    z = normal_quantile(1 - alpha)
    return math.floor(z * z * (1 - margin) / margin) + 1


def rows_to_decide(
    margin: float,
    gain: float,
    variance: float,
    *,
    proportion: bool,
    tests: int = 1,
    power: float = POWER,
    span: float = 0.0,
) -> RowsNeeded | None:
    """The smaller of the rows to pass and the rows to fail, if gain and variance stay as they are.

    gain: candidate minus reference, better positive; variance: of a row's difference, around its mean; tests: over how
    many checks harm is corrected; span: of a graded figure within a range, that range (see `BETTING`). With l the loss,
    of a graded figure
    pass: (z_0.95 + z_power)^2 variance / (margin - l)^2 + BETTING log(20) span / (margin - l), where l < margin;
    fail: (z_{1-0.05/tests} + z_power)^2 variance / l^2 + BETTING log(20 tests) span / l, where l > 0.
    A rate (`proportion`) of rows that are right or wrong has its own tests, Tango's bound and McNemar's exact test, and
    where few rows differ their exact power. None where neither is in reach: a graded figure without any spread.
    """
    loss = max(0.0, -gain)
    discordance = min(1.0, variance + loss * loss)
    found = []
    if loss < margin and proportion:
        rows = rows_to_pass(margin, discordance, loss, power)
        found += [] if rows is None else [RowsNeeded(max(rows, least_rows_to_pass(margin)), "pass")]
    elif loss < margin and variance > 0:
        found.append(RowsNeeded(_rows(margin - loss, variance, ALPHA, power, span), "pass"))
    if loss > 0 and proportion:
        found.append(RowsNeeded(rows_to_fail(loss, discordance, ALPHA / tests, power), "fail"))
    elif loss > 0:
        found.append(RowsNeeded(_rows(loss, variance, ALPHA / tests, power, span), "fail"))
    return min(found, default=None)


def _rows(distance: float, variance: float, alpha: float, power: float, span: float) -> int:
    """Rows that distinguish a mean from a point at this distance, one-sided."""
    z = normal_quantile(1 - alpha) + normal_quantile(power)
    return max(1, math.ceil(z * z * variance / distance**2 + BETTING * math.log(1 / alpha) * span / distance))


def distance_told(rows: int, variance: float, span: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The distance of a mean from a point that this many rows detect, one-sided: the same formula solved for it."""
    z = normal_quantile(1 - alpha) + normal_quantile(power)
    reach = BETTING * math.log(1 / alpha) * span
    return (reach + math.sqrt(reach * reach + 4 * rows * z * z * variance)) / (2 * rows)


def two_digits(rows: int) -> int:
    """A number of rows rounded up to two significant digits: a forecast is no more precise than that."""
    step: int = 10 ** max(0, len(str(rows)) - 2)
    return -(-rows // step) * step
