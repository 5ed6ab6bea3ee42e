"""Equivalence of two candidates within a margin, by two one-sided tests.

D. J. Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 1987, 15:657: both one-sided tests at level alpha
reject exactly where the two-sided interval of level 1 - 2 alpha lies within (-margin, margin); the error rate is at
most alpha without any correction. For rates on the same rows the interval is Tango's (`tango`), which J.-p. Liu, H.-m.
Hsueh, E. Hsieh and J. J. Chen, Statistics in Medicine 2002, 21:231, recommend for that purpose.
"""

import math
from typing import Literal

from harness.statistics.distributions import normal_quantile
from harness.statistics.noninferiority import ALPHA
from harness.statistics.power_analysis import POWER, rows_to_pass
from harness.statistics.rows_needed import least_rows_to_pass

Equivalence = Literal["alike", "not alike", "not shown yet"]


def equivalence_verdict(low: float, high: float, margin: float, p: float, alpha: float = ALPHA) -> Equivalence:
    """alike: the whole interval lies within the margin. not alike: it lies beyond it, or the difference is significant
    (`p`, corrected over all metrics) without being within it. [low, high]: at level 1 - 2 alpha.

    A bound that is nan (no data) decides nothing.
    """
    if low > -margin and high < margin:
        return "alike"
    if low > margin or high < -margin or p <= alpha:
        return "not alike"
    return "not shown yet"


def rows_for_equivalence(margin: float, discordance: float, difference: float, power: float = POWER) -> int | None:
    """Rows on which two rates are shown to be alike with this power, if they stay as they are.

    discordance: share of rows on which exactly one of the two is right. Without a difference both one-sided tests may
    fail, so each is given half of the risk; with one, the nearer margin decides. None where the difference reaches the
    margin: no number of rows would show it.
    """
    size = abs(difference)
    each = power if size > 0.25 * margin else 1 - (1 - power) / 2
    rows = rows_to_pass(margin, discordance, size, each)
    return None if rows is None else max(rows, least_rows_to_pass(margin))


def rows_for_equal_means(margin: float, variance: float, difference: float, power: float = POWER) -> int | None:
    """The same for a mean of row differences of this variance, by the normal distribution."""
    distance = margin - abs(difference)
    if distance <= 0:
        return None
    z = normal_quantile(1 - ALPHA) + normal_quantile(1 - (1 - power) / 2)
    return max(1, math.ceil(z * z * variance / distance**2))
