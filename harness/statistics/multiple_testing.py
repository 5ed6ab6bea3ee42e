"""Several tests at once: Holm, Benjamini-Hochberg, fixed sequences, selection levels, and letters for equal groups."""

from collections.abc import Callable, Collection, Sequence
from string import ascii_lowercase


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


def last_rejected(count: int, rejected: Callable[[int], bool]) -> int | None:
    """The last of `count` hypotheses that is rejected before the first that is not; None where the first is not.

    rejected: whether hypothesis k is rejected at the full level.
    """
    last = None
    for k in range(count):
        if not rejected(k):
            break
        last = k
    return last


def compact_letters(names: Sequence[str], different: Collection[frozenset[str]]) -> dict[str, str]:
    """Each name's letters, `a` from the beginning of `names`. different: pairs with a significant difference."""
    columns = [frozenset(names)] if names else []
    for pair in different:
        split: list[frozenset[str]] = []
        for column in columns:
            split += [column - {name} for name in pair] if pair <= column else [column]
        columns = [c for c in dict.fromkeys(split) if not any(c < other for other in split)]
    at = {name: i for i, name in enumerate(names)}
    columns.sort(key=lambda column: sorted(at[name] for name in column))
    letters = [_letter(i) for i in range(len(columns))]
    return {
        name: "".join(letter for letter, column in zip(letters, columns, strict=True) if name in column)
        for name in names
    }


def _letter(number: int) -> str:
    """a to z, then a1 to z1, and so on."""
    turn, place = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(turn) if turn else "")
