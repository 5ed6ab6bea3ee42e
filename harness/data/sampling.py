"""Which rows, in which order: a seeded order in which every beginning keeps the split's class shares."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.data.line_sort import LineSorter
from harness.records import Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANY_CLASSES = 1000
"""With more distinct references than this, references are texts and not classes."""


class SeededOrder:
    """The order by a seeded hash of the id within the split's own class shares, from 18 bytes a row.

    Within its class a row's rank k (of m) is set by the hash of (seed, id); rows of all classes are then
    merged by (k + 1/2) / m. So any first n rows hold every class in its share (to within one row), and a
    smaller limit is a prefix of a larger one. The file's own order plays no part.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._high, self._low = array("Q"), array("Q")
        self._class_of = array("H")
        self._classes: dict[str, int] = {}

    def add(self, sample_id: str, reference: str) -> None:
        """Take in the next row."""
        high, low = self._hash(sample_id)
        self._high.append(high)
        self._low.append(low)
        if len(self._classes) <= MANY_CLASSES:
            self._class_of.append(self._classes.setdefault(reference, len(self._classes)))

    def rename(self, position: int, sample_id: str) -> None:
        """Give a row another id."""
        self._high[position], self._low[position] = self._hash(sample_id)

    def _hash(self, sample_id: str) -> tuple[int, int]:
        found = hashlib.sha256(f"{self._seed}\0{sample_id}".encode()).digest()
        return int.from_bytes(found[:8], "big"), int.from_bytes(found[8:16], "big")

    def alike(self) -> Iterator[list[int]]:
        """Positions of rows that seem to bear one id (their hashes begin alike), in groups of two or more."""
        import numpy as np

        hashes = np.frombuffer(self._high, dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        same = hashes[order][1:] == hashes[order][:-1]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        for first, last in edges.reshape(-1, 2):
            yield order[first : last + 1].tolist()

    def positions(self) -> NDArray[np.int64]:
        """The rows' positions as added, in the order in which they are asked."""
        import numpy as np

        high, low = (np.frombuffer(part, dtype=np.uint64) for part in (self._high, self._low))
        if len(self._classes) > MANY_CLASSES:  # open answers: no classes to keep the shares of
            return np.lexsort((low, high))
        class_of = np.frombuffer(self._class_of, dtype=np.uint16)
        order = np.lexsort((low, high, class_of))
        sizes = np.bincount(class_of, minlength=1)
        first = np.cumsum(sizes) - sizes
        ordered = class_of[order]
        share = np.empty(len(order))
        share[order] = (np.arange(len(order)) - first[ordered] + 0.5) / sizes[ordered]
        return np.lexsort((low, high, share))


def seeded_order(samples: Iterable[Sample], seed: int) -> list[Sample]:
    """The samples in their seeded order."""
    kept = list(samples)
    order = SeededOrder(seed)
    for sample in kept:
        order.add(sample.id, sample.reference)
    return [kept[position] for position in order.positions().tolist()]


class Fingerprint:
    """SHA-256 over ids, references and groups, whatever the order of the rows."""

    def __init__(self, folder: Path | None = None) -> None:
        self._lines = LineSorter(folder)

    def add(self, sample: Sample) -> None:
        """Take in a row."""
        self._lines.add(msgspec.json.encode([sample.id, sample.reference, sample.group]))

    def digest(self) -> str:
        """Of all rows; to be taken once."""
        found = hashlib.sha256()
        between = b""
        for line in self._lines:
            found.update(between + line)
            between = b"\n"
        return found.hexdigest()


def fingerprint(samples: Iterable[Sample]) -> str:
    """The fingerprint of these rows."""
    found = Fingerprint()
    for sample in samples:
        found.add(sample)
    return found.digest()
