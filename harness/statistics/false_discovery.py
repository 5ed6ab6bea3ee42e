"""Benjamini and Hochberg's correction (JRSS B 1995) for diagnostics: many figures shown, none of them decides.

scipy has it in `scipy.stats`, whose import takes longer than a whole gate.
"""

from collections.abc import Sequence


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given: the expected share of false finds among those <= q is q at most."""
    count = len(p_values)
    adjusted = [1.0] * count
    lowest = 1.0
    for rank, index in zip(range(count, 0, -1), sorted(range(count), key=lambda i: -p_values[i]), strict=True):
        lowest = min(lowest, p_values[index] * count / rank)
        adjusted[index] = lowest
    return adjusted
