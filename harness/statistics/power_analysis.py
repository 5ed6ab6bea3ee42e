"""Power analysis: rows for a margin or a difference, and the exact power of the tests."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.statistics.distributions import normal_quantile

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
    z = normal_quantile(1 - alpha) + normal_quantile(power)
    return math.ceil(z * z * max(discordance - loss * loss, 0.0) / (margin - loss) ** 2)


def resolvable_margin(rows: int, discordance: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest margin that these rows pass with the given power when there is no true difference."""
    z = normal_quantile(1 - alpha) + normal_quantile(power)
    return z * math.sqrt(discordance / rows)


def rows_for_difference(difference: float, discordance: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Rows for McNemar's two-sided test (R. J. Connor, Biometrics 1987, 43:207)."""
    a, b = normal_quantile(1 - alpha / 2), normal_quantile(power)
    psi = max(discordance, difference)
    root = a * math.sqrt(psi) + b * math.sqrt(psi - difference**2)
    return math.ceil(root * root / difference**2)


def detectable_difference(rows: int, discordance: float, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Connor's formula turned round: the smallest difference McNemar's test finds with the given power.

    A difference cannot exceed the discordance, so a larger one brings its own. None where no difference would do.
    """
    a, b = normal_quantile(1 - alpha / 2), normal_quantile(power)

    def lacking(d: float) -> float:
        psi = max(discordance, d)
        return a * math.sqrt(psi) + b * math.sqrt(max(psi - d * d, 0.0)) - d * math.sqrt(rows)

    if rows == 0 or lacking(1.0) > 0:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        low, high = (middle, high) if lacking(middle) > 0 else (low, middle)
    return high


def detectable_mean_difference(se: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true mean difference found with the given power at a standard error (two-sided, normal)."""
    return (normal_quantile(1 - alpha / 2) + normal_quantile(power)) * se


Array = NDArray[np.float64]

FEW = 20.0
"""Expected differing rows below which the exact power is searched."""

MOST_ROWS = 10_000_000

ENOUGH = 2 * FEW
"""Expected differing rows, all on one side, that every test detects."""

LARGEST = 1 - 1e-9
"""The largest difference that is searched."""


def margin_power(rows: int, margin: float, discordance: float, loss: float = 0.0, alpha: float = ALPHA) -> float:
    """Probability that Tango's one-sided bound passes the margin. discordance, loss: the true ones."""
    b, c, chance = _tables(rows, discordance, loss)
    d = -margin
    linear = -b - c + (2 * rows - c + b) * d
    root = np.sqrt(np.maximum(linear * linear + 8 * rows * b * d * (1 - d), 0.0))
    only_reference = np.maximum((root - linear) / (4 * rows), 0.0)
    variance = rows * (2 * only_reference + d * (1 - d))  # as in `tango.score`
    excess = c - b - rows * d
    passes = excess > normal_quantile(1 - alpha) * np.sqrt(np.maximum(variance, 0.0))
    return float(chance[passes].sum())


def difference_power(rows: int, difference: float, discordance: float, alpha: float = ALPHA) -> float:
    """Probability that McNemar's exact two-sided test finds the difference, on its own side."""
    b, c, chance = _tables(rows, max(discordance, difference), difference)
    p = np.minimum(1.0, 2 * _even_odds(np.minimum(b, c), b + c))
    return float(chance[(p <= alpha) & (b > c)].sum())


def _tables(rows: int, discordance: float, loss: float) -> tuple[Array, Array, Array]:
    """All tables that are not all but impossible, flat, with their probabilities."""
    psi = max(discordance, loss)
    worse, better = (psi + loss) / 2, (psi - loss) / 2
    most = min(rows, math.ceil(rows * psi + 10 * math.sqrt(rows * psi) + 20))
    b, c = (part.ravel().astype(np.float64) for part in np.indices((most + 1, most + 1)))
    possible = b + c <= rows
    b, c = b[possible], c[possible]
    rest = rows - b - c
    few = np.array([math.lgamma(k + 1) for k in range(most + 1)])  # log k!
    many = np.array([math.lgamma(rows - k + 1) for k in range(min(rows, 2 * most) + 1)])
    of_b, of_c = b.astype(np.int64), c.astype(np.int64)
    log = math.lgamma(rows + 1) - few[of_b] - few[of_c] - many[of_b + of_c]
    log += _times_log(b, worse) + _times_log(c, better) + _times_log(rest, 1 - psi)
    return b, c, np.exp(log)


def _times_log(counts: Array, chance: float) -> Array:
    """counts x log(chance), 0 where the count is 0."""
    return counts * math.log(chance) if chance > 0 else np.where(counts > 0, -np.inf, 0.0)


def _even_odds(k: Array, m: Array) -> Array:
    """P(X <= k) for X ~ Binomial(m, 1/2), 0 <= k <= m, by Pascal's rule."""
    most = int(m.max(initial=0))
    cumulative = np.ones((most + 1, int(k.max(initial=0)) + 1))
    for row in range(1, most + 1):  # the last toss decides whether k or k - 1 of the others are allowed
        cumulative[row, 1:] = (cumulative[row - 1, 1:] + cumulative[row - 1, :-1]) / 2
        cumulative[row, 0] = cumulative[row - 1, 0] / 2
    return cumulative[m.astype(np.int64), k.astype(np.int64)]


def rows_to_pass(margin: float, discordance: float, loss: float = 0.0, power: float = POWER) -> int | None:
    """Rows that pass the margin with the given power at 5 % one-sided; None where the loss reaches the margin."""
    rows = rows_for_margin(margin, discordance, loss, power=power)
    if rows is None or rows * max(discordance, loss) >= FEW:
        return rows
    return _least_rows(lambda n: margin_power(n, margin, discordance, loss), power)


def rows_to_fail(loss: float, discordance: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Rows on which the exact one-sided McNemar test shows a loss with the given power at `alpha`.

    With many rows R. J. Connor's formula (Biometrics 1987, 43:207), one-sided.
    """
    psi = max(discordance, loss)
    root = normal_quantile(1 - alpha) * math.sqrt(psi) + normal_quantile(power) * math.sqrt(psi - loss * loss)
    rows = math.ceil(root * root / loss**2)
    if rows * psi >= FEW:
        return rows
    return _least_rows(lambda n: _harm_power(n, loss, psi, alpha), power) or rows


def _harm_power(rows: int, loss: float, discordance: float, alpha: float) -> float:
    b, c, chance = _tables(rows, discordance, loss)
    p = _even_odds(c, b + c)
    return float(chance[(p <= alpha) & (b > c)].sum())


def rows_to_see(difference: float, discordance: float, power: float = POWER) -> int:
    """Rows on which McNemar's exact test finds the difference with the given power at 5 % two-sided."""
    rows = rows_for_difference(difference, discordance, power=power)
    if rows * max(discordance, difference) >= FEW:
        return rows
    return _least_rows(lambda n: difference_power(n, difference, discordance), power) or rows


def smallest_margin(rows: int, discordance: float, power: float = POWER) -> float:
    """The smallest margin that these rows pass with the given power when nothing has changed; 1 at most."""
    if rows * discordance >= FEW:
        return min(1.0, resolvable_margin(rows, discordance, power=power))
    return _least(lambda margin: margin_power(rows, margin, discordance), power, 1.0) or 1.0


def smallest_difference(rows: int, discordance: float, power: float = POWER) -> float | None:
    """The smallest difference that these rows show with the given power; None where not even the largest would."""
    found = detectable_difference(rows, discordance, power=power)
    if rows == 0 or (found is not None and rows * max(discordance, found) >= FEW):
        return found
    return _least(lambda d: difference_power(rows, d, discordance), power, ENOUGH / rows)


def _least_rows(reached: Callable[[int], float], power: float) -> int | None:
    """The fewest rows with the given power. It rises in saw-teeth: up in strides, then back over the last one."""
    rows = 1
    while reached(rows) < power:
        rows += max(1, rows // 50)
        if rows > MOST_ROWS:
            return None
    return next(n for n in range(max(1, rows - max(1, rows // 50)), rows + 1) if reached(n) >= power)


def _least(reached: Callable[[float], float], power: float, first: float) -> float | None:
    """The smallest size in (0, 1) with the given power, to within 1e-7. It does not fall in the size.

    first: a size that is probably large enough; what is computed for one near 1 grows with the square of the rows.
    """
    low, high = 0.0, min(first, LARGEST)
    if reached(high) < power:
        low, high = high, LARGEST
        if reached(high) < power:
            return None
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high
