"""When to stop asking: a verdict against the margin that may be looked at after every row.

Passing: the wealth of a bet against "the loss is the margin or more" reaches 1/alpha. Failing: the e-value of
"the candidate is worse", from discordant rows, reaches 1/alpha. Both hold at every moment (Ville's inequality),
so that stopping at the first of them keeps each error rate at alpha. Not to be mixed with tests of a fixed
number of rows on the same data.
"""

from typing import Literal

from harness.statistics.eprocess import NonInferiorityBet, harm_e_value
from harness.statistics.noninferiority import ALPHA

Decision = Literal["pass", "fail"]


class SequentialRule:
    """Fed with one difference a row (candidate minus reference, better is positive, in [-1, 1]) in random order."""

    def __init__(self, margin: float, alpha: float = ALPHA) -> None:
        if not 0 < margin < 1:
            raise ValueError(f"a margin lies in (0, 1), not {margin}")
        self.alpha = alpha
        self.rows = 0
        self.decision: Decision | None = None
        self._bet = NonInferiorityBet(margin)
        self._worse = 0
        self._better = 0

    def observe(self, difference: float) -> None:
        """Take in the next row; after the decision nothing counts any more."""
        if self.decision is not None:
            return
        if not -1 <= difference <= 1:
            raise ValueError(f"a difference of two shares lies in [-1, 1], not {difference}")
        self.rows += 1
        self._bet.observe(difference)
        self._worse += difference < 0
        self._better += difference > 0
        if self._bet.wealth >= 1 / self.alpha:
            self.decision = "pass"
        elif self._worse > self._better and harm_e_value(self._worse, self._better) >= 1 / self.alpha:
            self.decision = "fail"


class OrderedRule:
    """The rule behind answers that come in any order: only the contiguous beginning of the row order counts.

    Answers that come fast may be the easy ones; taking them first would be a biased sample.
    """

    def __init__(self, margin: float, alpha: float = ALPHA) -> None:
        self.rule = SequentialRule(margin, alpha)
        self._next = 0
        self._waiting: dict[int, float | None] = {}

    def observe(self, n: int, difference: float | None) -> None:
        """The row at position `n` (each once): its difference, or None for a row that is not to be compared."""
        self._waiting[n] = difference
        while self._next in self._waiting:
            value = self._waiting.pop(self._next)
            self._next += 1
            if value is not None:
                self.rule.observe(value)

    @property
    def decided(self) -> Decision | None:
        """The verdict, once there is one."""
        return self.rule.decision
