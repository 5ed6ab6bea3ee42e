"""Compact letters: who is shown to differ from whom, as letters that transitive ranks cannot express.

H.-P. Piepho, An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons, Journal of Computational
and Graphical Statistics 2004, 13:456 (insert and absorb): two names share a letter exactly where their difference
is not significant.
"""

from collections.abc import Collection, Sequence
from string import ascii_lowercase


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
