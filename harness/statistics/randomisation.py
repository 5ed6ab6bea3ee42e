"""Approximate randomisation: are two candidates' answers exchangeable? (E. W. Noreen, 1989; A. Yeh, COLING 2000)

Under the null a unit's two answers could as well be swapped. Units that contribute alike are swapped in number
Binomial(count, 1/2), so a replicate costs as many draws as there are kinds of units.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from harness.statistics.bootstrap import CELLS_AT_ONCE, ResamplingUnits

Array = NDArray[np.float64]
TIE = 1e-12
"""Differences that differ by rounding only count as equal, which makes p larger, not smaller."""


def randomisation_p(
    units: ResamplingUnits,
    functions: Mapping[str, Callable[[Array], Array]],
    replicates: int = 10_000,
    seed: int | list[int] = 0,
) -> dict[str, tuple[float, float]]:
    """(two-sided p, one-sided p of "side 0 is lower") of each function's difference; p = (1 + hits) / (replicates + 1).

    The smallest p it can give is 1 / (replicates + 1).
    """
    rng = np.random.default_rng(seed)
    total = units.total
    differs = np.flatnonzero((units.tables[:, 0] != units.tables[:, 1]).any(axis=(1, 2)))
    counts = units.counts[differs]
    gap = (units.tables[differs, 1] - units.tables[differs, 0]).reshape(len(differs), total[0].size)
    observed = {name: _difference(function(total)) for name, function in functions.items()}
    two_sided = dict.fromkeys(functions, 0)
    lower = dict.fromkeys(functions, 0)
    batch = max(1, CELLS_AT_ONCE // max(total.size, len(differs), 1))
    for start in range(0, replicates, batch):
        size = min(batch, replicates - start)
        swapped = rng.binomial(counts, 0.5, size=(size, len(differs)))
        move = (swapped @ gap).reshape(size, *total.shape[1:])
        tables = np.stack([total[0] + move, total[1] - move], axis=1)
        for name, function in functions.items():
            values = _difference(function(tables))
            two_sided[name] += int((np.abs(values) >= abs(observed[name]) - TIE).sum())
            lower[name] += int((values <= observed[name] + TIE).sum())
    return {
        name: ((1 + two_sided[name]) / (replicates + 1), (1 + lower[name]) / (replicates + 1)) for name in functions
    }


def _difference(values: Array) -> Array:
    return np.asarray(values[..., 0] - values[..., 1])
