"""Rows that share a text belong together: connected components of the graph of rows and their texts."""

from collections.abc import Sequence

from harness.hashing import digest
from harness.text_normalization import comparable_text


def shared_groups(texts: Sequence[Sequence[str]]) -> list[str]:
    """A group name for every row; two rows have the same name when a chain of shared texts joins them.

    texts: for each row its texts (compared without regard to case and white space). A name is the hash of
    the component's smallest text, so it does not depend on the order of the rows.
    """
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    number: dict[str, int] = {}
    row_numbers, text_numbers = [], []
    for row, own in enumerate(texts):
        for text in own:
            row_numbers.append(row)
            text_numbers.append(number.setdefault(comparable_text(text), len(number)))
    if not number:
        return [digest(["row", row])[:16] for row in range(len(texts))]
    size = len(texts) + len(number)
    edges = (np.ones(len(row_numbers), dtype=np.int8), (row_numbers, np.array(text_numbers) + len(texts)))
    _, component = connected_components(coo_matrix(edges, shape=(size, size)), directed=False)
    smallest: dict[int, str] = {}
    for text, position in number.items():
        of = int(component[len(texts) + position])
        smallest[of] = min(text, smallest.get(of, text))
    return [digest(smallest.get(int(component[row]), f"row {row}"))[:16] for row in range(len(texts))]
