"""Anytime-valid tests: they may be looked at after every row, and stopped when they have decided.

Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSSB 2024. By Ville's
inequality a wealth process that starts at 1 and cannot grow in expectation ever reaches 1/alpha with
probability alpha at most. Rows must come in random order.
"""

import math

import numpy as np
from numpy.typing import NDArray

STAKES = np.geomspace(0.1, 0.7, 6)
"""The best stake is about margin / discordance where there is no difference, more where the candidate is better;
these stay near it for discordances of 1.5 to 10 margins. All are below 1 / (1 - margin): wealth stays positive."""


class NonInferiorityBet:
    """Wealth against "the mean difference is -margin or less"; differences lie in [-1, 1].

    W = mean over k of prod_i (1 + lambda_k (d_i + margin)), with the fixed lambda_k of STAKES.
    """

    def __init__(self, margin: float) -> None:
        self.margin = margin
        self._log_wealth: NDArray[np.float64] = np.zeros(len(STAKES))

    def observe(self, difference: float) -> None:
        """Bet on one more row."""
        self._log_wealth += np.log1p(STAKES * (difference + self.margin))

    @property
    def wealth(self) -> float:
        """1 at the beginning; 1/alpha decides for "not inferior"."""
        return float(np.exp(self._log_wealth).mean())


def harm_e_value(b: int, c: int) -> float:
    """E-value of "the candidate is worse" from discordant rows alone: 2^m / ((m + 1) C(m, b)), m = b + c.

    The wealth of a bettor with a uniform prior on P(only the reference is right), against 1/2. It grows for
    either direction; the caller reads it as harm only where b > c.
    """
    m = b + c
    log_choose = math.lgamma(m + 1) - math.lgamma(b + 1) - math.lgamma(c + 1)
    return math.exp(min(m * math.log(2) - math.log(m + 1) - log_choose, 700.0))
