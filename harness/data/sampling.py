"""Which rows, in which order: a seeded order in which every beginning keeps the split's class shares."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.data.line_sort import LineSorter
from harness.records import Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANY_CLASSES = 1000
"""With more distinct references than this, references are texts and not classes."""

ORDER_VERSION = 2
"""Of the order below. Version 1 began every class at its middle, (k + 1/2) / m: references that occur once or twice
all stood around the middle of the order, and a small limit held none of them."""

ORDER = "order"
"""The key of the order's version among a run's facts about its data; a run without it was drawn by version 1."""


def order_version(data: Mapping[str, Any]) -> int:
    """The version of the order by which rows were drawn, from the facts about the data of a run or a baseline."""
    return int(data.get(ORDER, 1))


class SeededOrder:
    """The order by a seeded hash of the id within the split's own class shares, from 18 bytes a row.

    Within its class a row's rank k (of m) is set by the hash of (seed, id); rows of all classes are then merged by
    (k + u) / m. The start u of a class is random in [0, 1), from the hash of (seed, class): systematic sampling with a
    random start (W. G. Cochran, Sampling Techniques, 1977, chapter 8), in which every row is as likely as any other to
    be among the first n. The starts of classes of one size are spread evenly over [0, 1): a hundred classes of one row
    each come one by one, not in a heap. So any first n rows hold every class, and all classes of one size together, in
    their share; a smaller limit is a prefix of a larger one. The file's own order plays no part.
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
        sizes = np.bincount(class_of, minlength=len(self._classes))
        first = np.cumsum(sizes) - sizes
        ordered = class_of[order]
        rank = np.arange(len(order)) - first[ordered]
        share = np.empty(len(order))
        share[order] = (rank + self._starts(sizes)[ordered]) / sizes[ordered]
        return np.lexsort((low, high, share))

    def _starts(self, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Where in its first interval each class begins, in [0, 1).

        C classes of one size take one of C equal parts each, in random order, and a random place within it.
        """
        import numpy as np

        hashes = [self._hash(f"class\0{name}") for name in self._classes]
        order = np.array([high for high, _ in hashes], dtype=np.uint64)
        within = np.array([low >> 11 for _, low in hashes], dtype=np.float64) / 2**53
        starts = np.empty(len(hashes))
        for size in np.unique(sizes):
            alike = np.flatnonzero(sizes == size)
            starts[alike[np.argsort(order[alike])]] = np.arange(len(alike))
            starts[alike] = (starts[alike] + within[alike]) / len(alike)
        return starts


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
