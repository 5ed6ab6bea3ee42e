"""Corrections for many tests: Holm (1979), Benjamini and Hochberg (1995), intervals after selection."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given; rejecting those <= alpha keeps the family's error rate at alpha."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given: the expected share of false finds among those <= q is q at most."""
    count = len(p_values)
    adjusted = [1.0] * count
    lowest = 1.0
    for rank, index in zip(range(count, 0, -1), sorted(range(count), key=lambda i: -p_values[i]), strict=True):
        lowest = min(lowest, p_values[index] * count / rank)
        adjusted[index] = lowest
    return adjusted


def selection_level(level: float, candidates: int) -> float:
    """The level of each two-sided interval at which the picked one of `candidates` keeps `level`."""
    if candidates < 1:
        raise ValueError(f"at least one candidate is picked from, not {candidates}")
    return 1 - (1 - level) / candidates


def selection_p(p: float, candidates: int) -> float:
    """A p-value of the picked one of `candidates`, corrected likewise."""
    return min(1.0, p * candidates)
