"""Newcombe's method 10 for paired proportions (Statist. Med. 1998, 17:2635): an independent check on Tango's."""

import math

from harness.statistics.proportions import wilson


def newcombe_interval(both: int, b: int, c: int, neither: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of candidate minus reference, (c - b) / n.

    `both` rows right in both, `b` only in the reference, `c` only in the candidate, `neither` in none.
    Wilson's limits of the two rates are joined with the correlation phi, continuity-corrected where positive.
    """
    n = both + b + c + neither
    candidate, reference = (both + c) / n, (both + b) / n
    low_1, high_1 = wilson(both + c, n, level)
    low_2, high_2 = wilson(both + b, n, level)
    phi = _phi(both, b, c, neither)
    difference = candidate - reference

    def spread(one: float, two: float) -> float:
        return math.sqrt(max(one * one - 2 * phi * one * two + two * two, 0.0))

    return (
        difference - spread(candidate - low_1, high_2 - reference),
        difference + spread(high_1 - candidate, reference - low_2),
    )


def _phi(both: int, b: int, c: int, neither: int) -> float:
    margins = (both + b) * (c + neither) * (both + c) * (b + neither)
    if margins == 0:
        return 0.0
    product: float = both * neither - b * c
    if product > 0:
        product = max(product - (both + b + c + neither) / 2, 0)
    return product / math.sqrt(margins)
