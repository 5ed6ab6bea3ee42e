"""Planning: how many rows for a margin or a difference, and what the present rows can resolve.

`discordance` is the share of rows on which exactly one of the two is right, (b + c) / n; it is the variance of
the per-row difference where there is no true difference.
"""

import math

from scipy.optimize import brentq
from scipy.special import ndtri

ALPHA = 0.05
POWER = 0.8


def rows_for_margin(
    margin: float, discordance: float, loss: float = 0.0, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Rows for a non-inferiority pass: (z_{1-alpha} + z_power)^2 variance / (margin - loss)^2, alpha one-sided.

    `loss` is the true loss; None where it reaches the margin (no number of rows would pass).
    """
    if loss >= margin:
        return None
    z = float(ndtri(1 - alpha) + ndtri(power))
    return math.ceil(z * z * max(discordance - loss * loss, 0.0) / (margin - loss) ** 2)


def resolvable_margin(rows: int, discordance: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest margin that these rows pass with the given power when there is no true difference."""
    z = float(ndtri(1 - alpha) + ndtri(power))
    return z * math.sqrt(discordance / rows)


def rows_for_difference(difference: float, discordance: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Rows for McNemar's two-sided test (R. J. Connor, Biometrics 1987, 43:207)."""
    a, b = float(ndtri(1 - alpha / 2)), float(ndtri(power))
    psi = max(discordance, difference)
    root = a * math.sqrt(psi) + b * math.sqrt(psi - difference**2)
    return math.ceil(root * root / difference**2)


def detectable_difference(rows: int, discordance: float, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Connor's formula turned round: the smallest difference McNemar's test finds with the given power.

    A difference cannot exceed the discordance, so a larger one brings its own. None where no difference would do.
    """
    a, b = float(ndtri(1 - alpha / 2)), float(ndtri(power))

    def lacking(d: float) -> float:
        psi = max(discordance, d)
        return a * math.sqrt(psi) + b * math.sqrt(max(psi - d * d, 0.0)) - d * math.sqrt(rows)

    if rows == 0 or lacking(1.0) > 0:
        return None
    return float(brentq(lacking, 1e-12, 1.0, xtol=1e-9))


def detectable_mean_difference(se: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true mean difference found with the given power at a standard error (two-sided, normal)."""
    return float(ndtri(1 - alpha / 2) + ndtri(power)) * se
