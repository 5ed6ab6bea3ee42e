"""Sampling rows: a seeded order in which every prefix keeps the split's class shares; sorting beyond memory."""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from harness.data.record_store import SpooledRecords
from harness.records import Sample, numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


AT_ONCE = 250_000
"""Lines sorted in memory at a time."""


class LineSorter:
    """Takes lines without line ends in any order, gives them back sorted, once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._pending: list[bytes] = []
        self._pieces: list[IO[bytes]] = []

    def add(self, line: bytes) -> None:
        """Take in a line."""
        self._pending.append(line)
        if len(self._pending) >= AT_ONCE:
            self._put_aside()

    def _put_aside(self) -> None:
        piece = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed when it has been merged)
        piece.writelines(line + b"\n" for line in sorted(self._pending))
        self._pieces.append(piece)
        self._pending.clear()

    def __iter__(self) -> Iterator[bytes]:
        self._pending.sort()
        yield from heapq.merge(self._pending, *map(_lines, self._pieces))


def _lines(piece: IO[bytes]) -> Iterator[bytes]:
    with piece:
        piece.seek(0)
        for line in piece:
            yield line[:-1]


MANY_CLASSES = 1000
"""With more distinct references than this, references are texts and not classes."""

ORDER_VERSION = 2
"""Of the order below. Version 1 began every class at its middle, (k + 1/2) / m: references that occur once or twice
were all around the middle of the order, and a small limit held none of them."""

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
    their share; a smaller limit is a prefix of a larger one. The file's own order has no influence.
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
        digest = hashlib.sha256(f"{self._seed}\0{sample_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")

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
    selected = list(samples)
    order = SeededOrder(seed)
    for sample in selected:
        order.add(sample.id, sample.reference)
    return [selected[position] for position in order.positions().tolist()]


class Fingerprint:
    """SHA-256 over ids, references and groups, whatever the order of the rows."""

    def __init__(self, folder: Path | None = None) -> None:
        self._lines = LineSorter(folder)

    def add(self, sample: Sample) -> None:
        """Take in a row."""
        self._lines.add(msgspec.json.encode([sample.id, sample.reference, sample.group]))

    def digest(self) -> str:
        """Of all rows; to be taken once."""
        digest = hashlib.sha256()
        between = b""
        for line in self._lines:
            digest.update(between + line)
            between = b"\n"
        return digest.hexdigest()


def fingerprint(samples: Iterable[Sample]) -> str:
    """The fingerprint of these rows."""
    digest = Fingerprint()
    for sample in samples:
        digest.add(sample)
    return digest.digest()


class SampledRows:
    """The rows drawn, in the order in which they are asked; `total` is how many the split holds."""

    def __init__(
        self, store: SpooledRecords[Sample], numbers: NDArray[np.uint32], positions: NDArray[np.int64]
    ) -> None:
        self.total = len(store)
        self._store, self._numbers, self._positions = store, numbers, positions
        self._latest: tuple[int, Sample] | None = None

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, n: int) -> Sample:
        if self._latest is None or self._latest[0] != n:  # a row is looked at, and then its request is made
            position = int(self._positions[n])
            self._latest = n, numbered(self._store[position], int(self._numbers[position]))
        return self._latest[1]

    def __iter__(self) -> Iterator[Sample]:
        return (self[n] for n in range(len(self)))


def draw(samples: Iterable[Sample], seed: int, limit: int | None, folder: Path | None = None) -> SampledRows:
    """The first `limit` rows of the seeded order. `folder`: where a large split is kept meanwhile."""
    import numpy as np

    store, order = SpooledRecords(Sample, folder), SeededOrder(seed)
    for sample in samples:
        store.append(sample)
        order.add(sample.id, sample.reference)
    numbers = _repeats(store, order)
    for position in np.flatnonzero(numbers > 1).tolist():
        order.rename(position, numbered(store[position], int(numbers[position])).id)
    return SampledRows(store, numbers, order.positions()[:limit].copy())


def _repeats(store: SpooledRecords[Sample], order: SeededOrder) -> NDArray[np.uint32]:
    """k for every row that is, in file order, the k-th of its id."""
    import numpy as np

    numbers = np.ones(len(store), dtype=np.uint32)
    for group in order.alike():
        seen: Counter[str] = Counter()
        for position in group:
            sample_id = store[position].id
            seen[sample_id] += 1
            numbers[position] = seen[sample_id]
    return numbers
