"""Drawing the rows of a run out of a stream of samples, of which none stays in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.sampling import SeededOrder
from harness.data.shelf import Shelf
from harness.records import Sample, numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Drawn:
    """The rows drawn, in the order in which they are asked; `total` is how many the split holds."""

    def __init__(self, shelf: Shelf[Sample], numbers: NDArray[np.uint32], positions: NDArray[np.int64]) -> None:
        self.total = len(shelf)
        self._shelf, self._numbers, self._positions = shelf, numbers, positions
        self._latest: tuple[int, Sample] | None = None

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, n: int) -> Sample:
        if self._latest is None or self._latest[0] != n:  # a row is looked at, and then its request is made
            position = int(self._positions[n])
            self._latest = n, numbered(self._shelf[position], int(self._numbers[position]))
        return self._latest[1]

    def __iter__(self) -> Iterator[Sample]:
        return (self[n] for n in range(len(self)))


def draw(samples: Iterable[Sample], seed: int, limit: int | None, folder: Path | None = None) -> Drawn:
    """The first `limit` rows of the seeded order. `folder`: where a large split is kept meanwhile."""
    import numpy as np

    shelf, order = Shelf(Sample, folder), SeededOrder(seed)
    for sample in samples:
        shelf.append(sample)
        order.add(sample.id, sample.reference)
    numbers = _repeats(shelf, order)
    for position in np.flatnonzero(numbers > 1).tolist():
        order.rename(position, numbered(shelf[position], int(numbers[position])).id)
    return Drawn(shelf, numbers, order.positions()[:limit].copy())


def _repeats(shelf: Shelf[Sample], order: SeededOrder) -> NDArray[np.uint32]:
    """k for every row that is, in file order, the k-th of its id."""
    import numpy as np

    numbers = np.ones(len(shelf), dtype=np.uint32)
    for group in order.alike():
        seen: Counter[str] = Counter()
        for position in group:
            sample_id = shelf[position].id
            seen[sample_id] += 1
            numbers[position] = seen[sample_id]
    return numbers
