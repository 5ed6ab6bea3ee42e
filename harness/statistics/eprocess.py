"""Anytime-valid tests: they may be looked at after every row, and stopped when they have decided.

Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSSB 2024. By Ville's
inequality a wealth process that starts at 1 and cannot grow in expectation ever reaches 1/alpha with
probability alpha at most. Rows must come in random order.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

STAKES = 20


class NonInferiorityBet:
    """Wealth against "the mean difference is -margin or less"; differences lie in [-1, 1].

    W = mean over k of prod_i (1 + lambda_k (d_i + margin)), with fixed stakes lambda_k in (0, 0.95 / (1 - margin)).
    """

    def __init__(self, margin: float) -> None:
        self.margin = margin
        # Geometric: small stakes for noisy differences, large ones where there is hardly any discordance.
        self._stakes = np.geomspace(0.005, 0.95 / (1 - margin), STAKES)
        self._log_wealth: NDArray[np.float64] = np.zeros(STAKES)

    def observe(self, difference: float) -> None:
        """Bet on one more row."""
        self._log_wealth += np.log1p(self._stakes * (difference + self.margin))

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
    log_choose = gammaln(m + 1) - gammaln(b + 1) - gammaln(c + 1)
    return math.exp(min(m * math.log(2) - math.log(m + 1) - float(log_choose), 700.0))
