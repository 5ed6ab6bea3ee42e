"""Non-inferiority against a margin, and the posterior probability of a loss below it."""

from typing import Literal

import numpy as np
from scipy.special import betainc, betaincinv

Verdict = Literal["pass", "fail", "inconclusive"]
ALPHA = 0.05
LEVEL = 1 - 2 * ALPHA
"""Of the two-sided interval whose ends are one-sided bounds at ALPHA."""


def noninferiority_verdict(low: float, high: float, margin: float, harm_p: float, alpha: float = ALPHA) -> Verdict:
    """pass: low > -margin. fail: high < -margin, or `harm_p` (corrected over all checks) <= alpha and no pass.

    A bound that is nan (no data) decides nothing.
    """
    if low > -margin:
        return "pass"
    if high < -margin or harm_p <= alpha:
        return "fail"
    return "inconclusive"


PRIOR = "Dirichlet(1, 1, 1, 1) prior"
"""Uniform over the probabilities of both right, only the incumbent, only the candidate, and neither."""
NODES = 200


def probability_of_loss_below(margin: float, worse: int, better: int, rows: int) -> float:
    """P(p_worse - p_better < margin) given that of `rows` rows only the incumbent got `worse` right and only the
    candidate `better`.

    Under a Dirichlet posterior s = p_worse + p_better is Beta(worse + better + 2, rows - worse - better + 2), and
    p_worse / s is Beta(worse + 1, better + 1) independently of it (aggregation and neutrality of the Dirichlet
    distribution). So the probability is the mean over s of the Beta distribution function at (1 + margin / s) / 2:
    Gauss and Legendre's rule over the quantiles of s, without sampling.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    s = betaincinv(worse + better + 2, rows - worse - better + 2, (nodes + 1) / 2)
    share = np.clip((1 + margin / np.maximum(s, 1e-300)) / 2, 0.0, 1.0)
    return float(np.clip(weights @ betainc(worse + 1, better + 1, share) / 2, 0.0, 1.0))
