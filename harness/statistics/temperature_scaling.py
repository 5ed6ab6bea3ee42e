"""Temperature scaling: one number by which scores are divided so that their softmax is calibrated.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, On Calibration of Modern Neural Networks, ICML 2017 (arXiv 1706.04599),
section 4.2: softmax(z / T) with the T > 0 that minimises the negative log-likelihood on validation rows. It changes no
answer, only the confidence. In 1/T the negative log-likelihood is convex, so that the minimum is the only one.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

Array = NDArray[np.float64]

RANGE = (0.05, 20.0)
"""Temperatures looked at. Rows that are all answered right would ask for 0."""
MIN_ROWS = 50
"""Validation rows below which no temperature is fitted."""


def negative_log_likelihood(scores: Array, references: NDArray[np.int64], temperature: float = 1.0) -> float:
    """Mean of -log softmax(scores / temperature) at the reference. scores: (n, labels); references: (n,)."""
    scaled = scores / temperature
    own = scaled[np.arange(len(scaled)), references]
    return float((logsumexp(scaled, axis=1) - own).mean())


def fit_temperature(scores: Array, references: NDArray[np.int64]) -> float | None:
    """The temperature of the least negative log-likelihood; None with fewer than MIN_ROWS rows.

    scores: (n, labels), finite; references: (n,) index of the right label.
    """
    if len(scores) < MIN_ROWS:
        return None
    low, high = np.log(RANGE)
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(scores, references, float(np.exp(log_t))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))
