"""Stratified bootstrap of functions of label counts, over rows or clusters as resampling units."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics.confusion import ANSWERS, HITS, REFERENCES
from harness.statistics.distributions import student_quantile

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ResamplingUnits:
    """Resampling units, those with equal contributions counted together.

    tables: (kinds, sides, 3, labels), what one unit of a kind adds to the label counts of each side (one side for a
    single candidate, two for a pair); counts: (kinds,), how many such units there are; strata: (kinds,), units
    are redrawn within their stratum: the gold class, so that every resample keeps the class sizes, or all in one where
    a class has too few rows to be redrawn on its own (its one row would never vary). rows: (kinds,) rows of a unit: 1
    of a row with its repeats, more of a group. blocks: units are blocks of independent rows, which were put together
    because rows are many.
    """

    tables: Array
    counts: NDArray[np.int64]
    strata: NDArray[np.int64]
    rows: Array
    blocks: bool = False

    @property
    def total(self) -> Array:
        """The label counts themselves: (sides, 3, labels)."""
        return np.asarray(np.tensordot(self.counts.astype(np.float64), self.tables, axes=1))

    @property
    def sizes(self) -> Array:
        """Rows of each unit, (n,)."""
        return np.repeat(self.rows, self.counts)

    @property
    def grouped(self) -> bool:
        """Whether some unit holds several rows that depend on each other."""
        return not self.blocks and bool((self.rows > 1 + 1e-9).any())

    @property
    def n(self) -> int:
        """How many units there are."""
        return int(self.counts.sum())


Answer = tuple[int, int, int, float]
"""(side, reference label, answer column, weight): what one answer adds. A row's weights add up to 1 a side."""


def count_units(units: Iterable[tuple[int, tuple[Answer, ...]]], sides: int, labels: int) -> ResamplingUnits:
    """Count units given as (stratum, answers). Columns 0..labels-1 are labels, column `labels` is "(no label)"."""
    return weigh_units(Counter((stratum, tuple(sorted(answers))) for stratum, answers in units), sides, labels)


def weigh_units(counted: Mapping[tuple[int, tuple[Answer, ...]], int], sides: int, labels: int) -> ResamplingUnits:
    """Units that are counted already; the answers of each sorted."""
    kinds = sorted(counted)
    tables = np.zeros((len(kinds), sides, 3, labels))
    for k, (_, answers) in enumerate(kinds):
        for side, reference, answer, weight in answers:
            add_answer(tables[k, side], reference, answer, weight)
    return ResamplingUnits(
        tables=tables,
        counts=np.array([counted[kind] for kind in kinds], dtype=np.int64),
        strata=np.array([stratum for stratum, _ in kinds], dtype=np.int64),
        rows=tables[:, 0, REFERENCES].sum(axis=-1),
    )


def add_answer(counts: Array, reference: int, answer: int, weight: float) -> None:
    """Add one answer to label counts (3, labels); the answer `labels` is none of them."""
    counts[REFERENCES, reference] += weight
    if answer < counts.shape[1]:
        counts[ANSWERS, answer] += weight
        if answer == reference:
            counts[HITS, reference] += weight


Function = Callable[[Array], Array]

DRAWS = 10_000
CELLS_AT_ONCE = 4_000_000
"""Bounds the memory of one batch of drawn tables (32 MB), whatever the label set."""


def draw_tables(units: ResamplingUnits, draws: int, rng: np.random.Generator) -> Iterator[Array]:
    """Resampled label counts in batches of shape (batch, sides, 3, labels)."""
    kinds, width = len(units.counts), int(np.prod(units.tables.shape[1:]))
    flat = units.tables.reshape(kinds, width)
    batch = max(1, CELLS_AT_ONCE // max(width, kinds, 1))
    strata = [np.flatnonzero(units.strata == s) for s in np.unique(units.strata)]
    for start in range(0, draws, batch):
        size = min(batch, draws - start)
        counts = np.zeros((size, kinds))
        for members in strata:
            n = int(units.counts[members].sum())
            counts[:, members] = rng.multinomial(n, units.counts[members] / n, size=size)
        yield (counts @ flat).reshape(size, *units.tables.shape[1:])


def bootstrap(
    units: ResamplingUnits, functions: Mapping[str, Function], draws: int = DRAWS, seed: int | list[int] = 0
) -> dict[str, Array]:
    """Each function's values on the same resamples: name to (draws, sides)."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[Array]] = {name: [] for name in functions}
    for tables in draw_tables(units, draws, rng):
        for name, function in functions.items():
            parts[name].append(function(tables))
    return {name: np.concatenate(values) for name, values in parts.items()}


def percentile_interval(values: Array, level: float = 0.95) -> tuple[float, float]:
    """The central share `level` of the draws."""
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def monte_carlo_error(values: Array, level: float = 0.95) -> float:
    """Standard error of a percentile bound that comes from the number of draws alone (the larger of both bounds).

    From the order statistics one binomial standard deviation to either side of the bound.
    """
    tail = (1 - level) / 2
    step = float(np.sqrt(tail * (1 - tail) / len(values)))
    q = np.clip([tail - step, tail + step, 1 - tail - step, 1 - tail + step], 0, 1)
    points = np.quantile(values, q)
    return float(max(points[1] - points[0], points[3] - points[2]) / 2)


def bias_corrected_interval(
    estimate: float, values: Array, degrees: float, level: float = 0.95, least_se: float = 0.0
) -> tuple[float, float]:
    """Estimate -+ t x standard deviation of the draws, around the estimate and around it without its bias.

    Where labels have few rows an F1 is biased, and each resample is biased once more, so that percentiles lie where
    no truth does (B. Efron, JASA 1987, 82:171). The bias that the draws show, their mean minus the estimate, is taken
    off; since it is estimated itself the interval reaches over both centres. least_se: the deviation is no smaller.
    """
    half = student_quantile(degrees, 0.5 + level / 2) * max(float(values.std(ddof=1)), least_se)
    centres = estimate, 2 * estimate - float(values.mean())
    return min(centres) - half, max(centres) + half


def jackknife_se(units: ResamplingUnits, function: Function, side: int = 0) -> float:
    """Standard error of one side's figure by leaving out one unit at a time: needs no seed."""
    return _jackknife(units, lambda tables: function(tables)[..., side])


def jackknife_difference_se(units: ResamplingUnits, function: Function) -> float:
    """Standard error of side 0 minus side 1 by leaving out one unit at a time: needs no seed.

    Stratified: the stratum that lost a unit is scaled up to its size again. Strata of one unit add nothing.
    """

    def difference(tables: Array) -> Array:
        sides = function(tables)
        return sides[..., 0] - sides[..., 1]

    return _jackknife(units, difference)


def _jackknife(units: ResamplingUnits, function: Function) -> float:
    total, variance = units.total, 0.0
    for stratum in np.unique(units.strata):
        members = units.strata == stratum
        tables, weights = units.tables[members], units.counts[members].astype(np.float64)
        n = float(weights.sum())
        if n < 2:
            continue
        whole = np.tensordot(weights, tables, axes=1)
        values = function(total - whole + (whole - tables) * n / (n - 1))
        variance += (n - 1) / n * float(weights @ (values - weights @ values / n) ** 2)
    return float(np.sqrt(variance))
