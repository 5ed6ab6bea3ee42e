"""Non-inferiority against a margin, and the posterior probability of a loss below it."""

from typing import Literal

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
