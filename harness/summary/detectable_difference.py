"""What rows detect, and how many would decide: one figure for one pair, whoever prints it."""

import math

from harness.metrics import Metric
from harness.results import PairResult
from harness.statistics.noninferiority import ALPHA
from harness.statistics.power_analysis import detectable_mean_difference, smallest_difference
from harness.statistics.proportions import fewest_discordant
from harness.statistics.rows_needed import RowsNeeded, distance_told, rows_to_decide
from harness.summary.comparison import Comparison
from harness.summary.optional_stopping import P_METHOD

Z_975 = 1.959964


def detectable(c: Comparison) -> float | None:
    """The smallest true difference found with 80 % power at 5 % two-sided, in the metric's own units; None where the
    rows do not say.

    Right or wrong: McNemar's test at this discordance. Else from the standard error of the mean difference.
    """
    if c.only_a is not None and c.only_b is not None:
        if c.rows < fewest_discordant():
            return None
        return smallest_difference(c.rows, (c.only_a + c.only_b) / c.rows)
    if c.no_verdict or not c.variance > 0:
        return None
    if c.p_method == P_METHOD:  # the number of rows was chosen by looking at the answers
        return None
    return distance_told(c.rows, c.variance, betting_span(c.metric), ALPHA / 2)


def betting_span(metric: Metric) -> float:
    """The range of a graded row value that is judged by bets; 0 for figures that are not."""
    graded = metric.kind == "mean" and not metric.proportion and metric.bounds is not None
    return metric.bounds[1] - metric.bounds[0] if graded and metric.bounds is not None else 0.0


def deciding_rows(c: Comparison, margin: float, tests: int = 1) -> RowsNeeded | None:
    """Rows in all that would probably decide whether a loses less than the margin, whichever way, if the figures stay.

    tests: over how many checks harm is corrected.
    """
    if math.isnan(c.variance):
        return None
    single = c.only_a is not None  # right or wrong on independent rows: `variance` is around 0 there
    around_mean = max(0.0, c.variance - c.gain**2) if single else c.variance
    return rows_to_decide(margin, c.gain, around_mean, proportion=single, tests=tests, span=betting_span(c.metric))


def detectable_of_pair(pair: PairResult) -> float | None:
    """The figure as the pair carries it; of summaries that do not carry it, from counts or the 95 % interval."""
    if pair.detectable is not None:
        return pair.detectable
    if pair.only_a is not None and pair.only_b is not None and pair.rows:
        return smallest_difference(pair.rows, (pair.only_a + pair.only_b) / pair.rows)
    low, high = pair.difference.low, pair.difference.high
    if low is None or high is None or high <= low:
        return None
    return detectable_mean_difference((high - low) / (2 * Z_975))
