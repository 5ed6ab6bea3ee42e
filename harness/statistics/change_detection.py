"""Has a mean become worse at some time? A test over any number of batches that may be looked at after each.

An e-process mixed over the batch at which the change begins: before batch k a share w_k = 1 / (k (k + 1)) of the
wealth waits in cash and starts to bet there. Under "in every batch the expected value is `null` or less" each start
is a nonnegative supermartingale, so their weighted sum is one too, and by Ville's inequality (1939) it ever reaches
1/alpha with probability alpha at most, however long one goes on. The bets are those of the confidence sequences
(Waudby-Smith and Ramdas, JRSS B 2024); mixing over starts is how e-detectors find late changes (Shin, Ramdas, Rinaldo,
arXiv 2203.03532), here with weights that sum to 1, which bounds the probability of any false alarm.
"""

import math
from collections.abc import Sequence

import numpy as np

from harness.statistics.confidence_sequence import STAKES, Array, SequentialUnits


def change_log_wealth(batches: Sequence[SequentialUnits], null: float) -> Array:
    """(batches,) logarithm of the wealth after each batch, from betting against "no batch's mean exceeds `null`".

    null lies in (low, high]: at low itself nothing can be bet against.
    """
    if not batches:
        return np.zeros(0)
    before = np.zeros((len(batches) + 1, len(STAKES)))
    before[1:] = np.cumsum([_log_gain(units, null) for units in batches], axis=0)
    start = np.arange(1, len(batches) + 1)
    weights = -np.log(start * (start + 1.0))
    found = np.empty(len(batches))
    for ended in range(1, len(batches) + 1):
        bets = np.logaddexp.reduce(before[ended] - before[:ended], axis=1) - math.log(len(STAKES))
        found[ended - 1] = np.logaddexp.reduce(np.append(weights[:ended] + bets, -math.log(ended + 1)))
    return found


def first_alarm(batches: Sequence[SequentialUnits], null: float, alpha: float) -> int | None:
    """After how many batches the wealth first reached 1/alpha; None: never."""
    reached = np.flatnonzero(change_log_wealth(batches, null) >= -math.log(alpha))
    return int(reached[0]) + 1 if len(reached) else None


def _log_gain(units: SequentialUnits, null: float) -> Array:
    """(stakes,) logarithm of what each stake's wealth is multiplied by in one batch."""
    gain = (units.totals - units.sizes * null) / (units.most * (null - units.low))
    return np.asarray(np.log1p(np.multiply.outer(gain, STAKES)).sum(axis=0))
