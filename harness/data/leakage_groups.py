"""Rows that are one observation: rows of a given group, rows with equal inputs, rows that share a text."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.hashing import digest
from harness.records import Sample
from harness.text_normalization import comparable_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]


@dataclass(frozen=True)
class RowGroups:
    """Groups of n rows.

    codes: (n,) number of each row's group in the order of first mention, None where every row is its own unit.
    inputs: (n,) number of each row's inputs, None where no two rows have equal ones.
    turns: (n,) positions of the rows group by group, the groups in a random order that does not depend on their sizes
    or answers (from a hash of what they share); None where every row is its own unit.
    """

    codes: Codes | None
    inputs: Codes | None
    turns: Codes | None


class RowGroupsBuilder:
    """Gathers rows by eight bytes of a hash of their group's name and of their inputs (10^7 rows: a chance of 3 in 10^6
    that any two are taken for one)."""

    def __init__(self) -> None:
        self._groups, self._inputs = array("Q"), array("Q")
        self._named = bytearray()

    def add(self, sample: Sample) -> None:
        """Take in the next row."""
        self._named.append(sample.group is not None)
        self._groups.append(_hash(f"group\0{sample.group}"))
        texts = (f"{len(name)} {name}\0{comparable_text(text)}" for name, text in sorted(sample.inputs.items()))
        self._inputs.append(_hash("\0".join(texts)))

    def build(self) -> RowGroups:
        """The groups of all rows."""
        import numpy as np

        known, inputs = np.unique(np.frombuffer(self._inputs, dtype=np.uint64), return_inverse=True)
        rows = len(inputs)
        named = np.flatnonzero(np.frombuffer(self._named, dtype=np.bool_))
        names, group = np.unique(np.frombuffer(self._groups, dtype=np.uint64)[named], return_inverse=True)
        if len(known) == rows and len(names) == len(named):
            return RowGroups(codes=None, inputs=None, turns=None)
        from scipy.sparse import coo_matrix  # half a second of imports: for rows that are grouped only
        from scipy.sparse.csgraph import connected_components

        # Nodes are inputs and names; a row of a group joins its inputs with its group's name.
        nodes = len(known) + len(names)
        edges = (np.ones(len(named), dtype=np.int8), (inputs[named], len(known) + group))
        of_node = connected_components(coo_matrix(edges, shape=(nodes, nodes)), directed=False)[1]
        of_row = of_node[inputs]
        _, first, codes = np.unique(of_row, return_index=True, return_inverse=True)
        number = np.empty(len(first), dtype=np.int64)
        number[np.argsort(first)] = np.arange(len(first))
        smallest = np.full(len(first), np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(smallest, codes, np.frombuffer(self._inputs, dtype=np.uint64))
        return RowGroups(
            codes=number[codes],
            inputs=None if len(known) == rows else inputs.astype(np.int64),
            turns=np.lexsort((np.arange(rows), number[codes], _mixed(smallest)[codes])),
        )


def group_names(samples: Iterable[Sample]) -> list[str | None]:
    """A name for the group of each row, the given one where it is sufficient; None for a row on its own."""
    rows = list(samples)
    builder = RowGroupsBuilder()
    for row in rows:
        builder.add(row)
    codes = builder.build().codes
    if codes is None:
        return [None] * len(rows)
    given: dict[int, set[str | None]] = {}
    first: dict[int, str] = {}
    count: dict[int, int] = {}
    for code, row in zip(codes.tolist(), rows, strict=True):
        given.setdefault(code, set()).add(row.group)
        first.setdefault(code, row.id)
        count[code] = count.get(code, 0) + 1
    return [
        next(iter(given[code]))
        if len(given[code]) == 1 and None not in given[code]
        # A row without a copy needs no name.
        else f"rows like {first[code]}"
        if count[code] > 1
        else None
        for code in codes.tolist()
    ]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A random-looking function of each value (splitmix64, G. L. Steele, D. Lea and C. H. Flood, OOPSLA 2014).

    The smallest of many hashes is small: an order by it would put large groups first. One more hash makes it uniform.
    """
    import numpy as np

    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


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
