"""How many rows a gate would need, and which verdict they would bring.

A non-inferiority gate decides in two ways: it passes once the lower bound lies within the margin, and it fails once
the loss itself is shown. A loss near the margin takes forever to pass and fails soon, so the smaller of both counts.
"""

import math
from typing import Literal, NamedTuple

from scipy.special import ndtri

from harness.statistics.noninferiority import ALPHA
from harness.statistics.power import POWER


class RowsNeeded(NamedTuple):
    """Rows in all that would probably decide, and how."""

    rows: int
    verdict: Literal["pass", "fail"]


def least_rows_to_pass(margin: float, alpha: float = ALPHA) -> int:
    """The fewest independent rows that pass a margin of a rate at all: when not one row differs.

    Tango's bound of n rows without a difference is z^2 / (n + z^2) (T. Tango, Statistics in Medicine 1998, 17:891, both
    discordant counts 0), so n > z^2 (1 - margin) / margin: 268 rows for 1 point, 133 for 2.
    """
    z = float(ndtri(1 - alpha))
    return math.floor(z * z * (1 - margin) / margin) + 1


def rows_to_decide(
    margin: float,
    gain: float,
    variance: float,
    *,
    proportion: bool,
    tests: int = 1,
    alpha: float = ALPHA,
    power: float = POWER,
) -> RowsNeeded | None:
    """The smaller of the rows to pass and the rows to fail, if gain and variance stay as they are.

    gain: candidate minus reference, better positive; variance: of a row's difference, around its mean. With l the loss:
    pass: (z_{1-alpha} + z_power)^2 variance / (margin - l)^2, where l < margin;
    fail: (z_{1-alpha/tests} sqrt(variance + l^2) + z_power sqrt(variance))^2 / l^2, where l > 0 (R. J. Connor,
    Biometrics 1987, 43:207, one-sided; `tests`: over how many checks harm is corrected).
    A rate (`proportion`) of rows that are right or wrong also needs the least rows of an exact bound, and as many rows
    that got worse as an exact sign test needs. None where neither is in reach: a graded figure without any spread.
    """
    loss = max(0.0, -gain)
    found = []
    if loss < margin and (proportion or variance > 0):
        z = float(ndtri(1 - alpha) + ndtri(power))
        rows = math.ceil(z * z * variance / (margin - loss) ** 2)
        found.append(RowsNeeded(max(rows, least_rows_to_pass(margin, alpha) if proportion else 1), "pass"))
    if loss > 0:
        null, seen = math.sqrt(variance + loss * loss), math.sqrt(variance)
        rows = math.ceil((float(ndtri(1 - alpha / tests)) * null + float(ndtri(power)) * seen) ** 2 / loss**2)
        worse = (variance + loss * loss + loss) / 2  # of right/wrong rows, the share that only the candidate got wrong
        least = math.ceil(math.log2(tests / alpha) / worse) if proportion else 1
        found.append(RowsNeeded(max(rows, least), "fail"))
    return min(found, default=None)


def two_digits(rows: int) -> int:
    """A number of rows rounded up to two significant digits: a forecast is no more precise than that."""
    step: int = 10 ** max(0, len(str(rows)) - 2)
    return -(-rows // step) * step
