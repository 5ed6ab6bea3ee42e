"""The interval of a difference from the two figures' own intervals (MOVER)."""

import math


def difference_interval(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    """(a - b, low, high) from (value, low, high) of each, at the level of the two intervals.

    The method of variance estimates recovery of Zou and Donner, Statistics in Medicine 27 (2008) 1693-1702, which for
    two proportions with Wilson's intervals is method 10 of Newcombe, Statistics in Medicine 17 (1998) 873-890. It takes
    the two figures as independent. Answers to the same rows are positively correlated, which makes the true interval of
    the difference narrower: this one then covers more often than its level says.
    """
    (value_a, low_a, high_a), (value_b, low_b, high_b) = a, b
    difference = value_a - value_b
    below = math.hypot(value_a - low_a, high_b - value_b)
    above = math.hypot(high_a - value_a, value_b - low_b)
    return difference, difference - below, difference + above
