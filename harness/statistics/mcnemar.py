"""McNemar's test for right/wrong of two candidates on the same rows (Psychometrika 1947), in its exact forms.

`b` rows only the reference got right, `c` rows only the candidate; rows both got right or wrong say nothing.
"""

from scipy.special import bdtr, bdtrc


def exact_p(b: int, c: int) -> float:
    """Two-sided exact (conditional binomial) p-value; 1 where there is no discordant row."""
    m = b + c
    return min(1.0, 2 * float(bdtr(min(b, c), m, 0.5))) if m else 1.0


def fewest_discordant(alpha: float = 0.05) -> int:
    """Rows on which exactly one of the two is right that a two-sided exact p-value of `alpha` takes at least: with m of
    them, all on one side, it is 2^(1 - m)."""
    m = 1
    while exact_p(0, m) > alpha:
        m += 1
    return m


def mid_p(b: int, c: int) -> float:
    """Two-sided mid-p value (Fagerland, Lydersen and Laake, BMC Med Res Methodol 2013, 13:91).

    Less conservative than the exact one, and within its level in all their scenarios, though not by proof.
    """
    m = b + c
    if not m:
        return 1.0
    k = min(b, c)
    at = float(bdtr(k, m, 0.5)) - (float(bdtr(k - 1, m, 0.5)) if k else 0.0)
    return min(1.0, 2 * float(bdtr(k, m, 0.5)) - at)


def harm_p(b: int, c: int) -> float:
    """One-sided exact p-value of "the candidate is worse": P(X >= b), X ~ Binomial(b + c, 1/2)."""
    return float(bdtrc(b - 1, b + c, 0.5)) if b else 1.0
