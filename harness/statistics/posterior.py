"""A Bayesian reading of a paired comparison: how probable a loss below the margin is after these rows.

The four outcomes of a row (both right, only the incumbent, only the candidate, neither) are multinomial with a
Dirichlet(1, 1, 1, 1) prior, uniform over all their probabilities. S. Bowyer, L. Aitchison and D. R. Ivanova (arXiv
2503.01747, 2025) recommend Bayesian readings of small evaluations with uniform priors; for pairs their library
samples a bivariate normal model of the same table, where the conjugate model here has a one-dimensional integral.
"""

import numpy as np

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
    from scipy.special import betainc, betaincinv  # takes longer to import than a short run computes

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    s = betaincinv(worse + better + 2, rows - worse - better + 2, (nodes + 1) / 2)
    share = np.clip((1 + margin / np.maximum(s, 1e-300)) / 2, 0.0, 1.0)
    return float(np.clip(weights @ betainc(worse + 1, better + 1, share) / 2, 0.0, 1.0))
