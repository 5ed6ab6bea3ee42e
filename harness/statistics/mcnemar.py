"""McNemar's test for right/wrong of two candidates on the same rows (Psychometrika 1947), in its exact forms.

`b` rows only the reference got right, `c` rows only the candidate; rows both got right or wrong say nothing.
"""

import math

from harness.statistics.distributions import even_odds_at_least, even_odds_at_most


def exact_p(b: int, c: int) -> float:
    """Two-sided exact (conditional binomial) p-value; 1 where there is no discordant row."""
    m = b + c
    return min(1.0, 2 * even_odds_at_most(min(b, c), m)) if m else 1.0


def fewest_discordant(alpha: float = 0.05) -> int:
    """Rows on which exactly one of the two is right that a two-sided exact p-value of `alpha` takes at least: with m of
    them, all on one side, it is 2^(1 - m)."""
    return max(1, math.ceil(1 - math.log2(alpha)))


def mid_p(b: int, c: int) -> float:
    """Two-sided mid-p value (Fagerland, Lydersen and Laake, BMC Med Res Methodol 2013, 13:91).

    Less conservative than the exact one, and within its level in all their scenarios, though not by proof.
    """
    m = b + c
    if not m:
        return 1.0
    k = min(b, c)
    below = even_odds_at_most(k - 1, m) if k else 0.0
    return min(1.0, even_odds_at_most(k, m) + below)


def harm_p(b: int, c: int) -> float:
    """One-sided exact p-value of "the candidate is worse": P(X >= b), X ~ Binomial(b + c, 1/2)."""
    return even_odds_at_least(b, b + c)
