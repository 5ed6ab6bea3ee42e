"""What is drawn together: rows (with all their repeats) or clusters of rows, counted by what they add to the tables.

Millions of rows have few different contributions, so a resample is one multinomial draw over those, not a
draw of row indices: the cost of a bootstrap then hardly depends on the number of rows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """Resampling units, those with equal contributions counted together.

    tables: (kinds, sides, labels, answers), what one unit of a kind adds to the table of each side (one side for a
    single candidate, two for a pair); counts: (kinds,), how many such units there are; strata: (kinds,), units
    are redrawn within their stratum: the gold class, so that every resample keeps the class sizes, or all in one where
    a class has too few rows to be redrawn on its own (its one row would never vary).
    """

    tables: Array
    counts: NDArray[np.int64]
    strata: NDArray[np.int64]

    @property
    def total(self) -> Array:
        """The tables themselves: (sides, labels, answers)."""
        return np.asarray(np.tensordot(self.counts.astype(np.float64), self.tables, axes=1))

    @property
    def sizes(self) -> Array:
        """Rows of each unit, (n,): 1 of a row with its repeats, more of a group."""
        return np.repeat(self.tables[:, 0].sum(axis=(1, 2)), self.counts)

    @property
    def grouped(self) -> bool:
        """Whether some unit holds several rows."""
        return bool((self.tables[:, 0].sum(axis=(1, 2)) > 1 + 1e-9).any())

    @property
    def n(self) -> int:
        """How many units there are."""
        return int(self.counts.sum())


Answer = tuple[int, int, int, float]
"""(side, reference label, answer column, weight): what one answer adds. A row's weights add up to 1 a side."""


def count_units(units: Iterable[tuple[int, tuple[Answer, ...]]], sides: int, labels: int) -> Units:
    """Count units given as (stratum, answers). Columns 0..labels-1 are labels, column `labels` is "(no label)"."""
    return weigh_units(Counter((stratum, tuple(sorted(answers))) for stratum, answers in units), sides, labels)


def weigh_units(counted: Mapping[tuple[int, tuple[Answer, ...]], int], sides: int, labels: int) -> Units:
    """Units that are counted already; the answers of each sorted."""
    kinds = sorted(counted)
    tables = np.zeros((len(kinds), sides, labels, labels + 1))
    for k, (_, answers) in enumerate(kinds):
        for side, reference, answer, weight in answers:
            tables[k, side, reference, answer] += weight
    return Units(
        tables=tables,
        counts=np.array([counted[kind] for kind in kinds], dtype=np.int64),
        strata=np.array([stratum for stratum, _ in kinds], dtype=np.int64),
    )
