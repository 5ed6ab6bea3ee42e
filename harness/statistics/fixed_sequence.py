"""Testing hypotheses in an order that was fixed beforehand, each at the full level, until the first is not rejected.

P. Bauer, Statist. Med. 1991, 10:871; as a way to control a risk over thresholds: A. N. Angelopoulos, S. Bates, E. J.
Candes, M. I. Jordan and L. Lei, Learn then Test, arXiv 2110.01052 (Ann. Appl. Statist. 2025, 19:1641). The chance that
any rejected hypothesis is true is alpha at most: the first true one in the order is rejected with probability alpha,
and without that none behind it is reached. The order must not depend on the rows that test ("split fixed sequence
testing": other rows choose it).
"""

from collections.abc import Callable


def last_rejected(count: int, rejected: Callable[[int], bool]) -> int | None:
    """The last of `count` hypotheses that is rejected before the first that is not; None where the first is not.

    rejected: whether hypothesis k is rejected at the full level.
    """
    last = None
    for k in range(count):
        if not rejected(k):
            break
        last = k
    return last
