"""Intervals of what was picked because it looked best.

The best of k equal candidates looks better than it is: its plain 95 % interval covers 91 % of the time with five of
them. Intervals that hold for all k at once hold for whichever is picked, by whatever rule and however the candidates
depend on each other (O. J. Dunn, Multiple Comparisons Among Means, JASA 1961, 56:52: each at 1 - (1 - level) / k). For
a picked maximum only the end towards the worse needs it; both ends are widened, so that one interval serves any rule.
"""


def selection_level(level: float, candidates: int) -> float:
    """The level of each two-sided interval at which the picked one of `candidates` keeps `level`."""
    if candidates < 1:
        raise ValueError(f"at least one candidate is picked from, not {candidates}")
    return 1 - (1 - level) / candidates


def selection_p(p: float, candidates: int) -> float:
    """A p-value of the picked one of `candidates`, corrected likewise."""
    return min(1.0, p * candidates)
