"""Whether two independent shares differ: the score test with the pooled share (K. Pearson's chi-squared, 1900)."""

import math


def two_shares_p(first: float, first_rows: float, second: float, second_rows: float) -> float:
    """Two-sided p-value of "both shares are one"; 1 where there are no rows or neither share varies.

    first, second: shares; first_rows, second_rows: what they were measured on (first_rows infinite: known exactly).
    """
    if first_rows <= 0 or second_rows <= 0:
        return 1.0
    if math.isinf(first_rows):  # a share that is known
        pooled = first
    else:
        pooled = (first * first_rows + second * second_rows) / (first_rows + second_rows)
    variance = pooled * (1 - pooled) * (1 / first_rows + 1 / second_rows)
    if variance <= 0:
        return 1.0
    return math.erfc(abs(first - second) / math.sqrt(2 * variance))
