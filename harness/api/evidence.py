"""Whether a refusal concerns one row or all of them, where the server's words do not say: by how other rows fare."""

FAULTS_AT_FIRST = 3
"""Bodies that are no answers, before any answer came, after which a control request is sent."""
ENDS_AT_FIRST = 3
"""Rows that ended without an answer (filtered, too long), before any answer came, after which one is sent."""
REFUSALS_LATER = 10
"""Refusals in a row, after answers came, after which one is sent (then after twice as many, and so on)."""


class Evidence:
    """Counts answers and failures of one backend, and says when they call for a control request.

    The control request asks the same model, in the same way, something harmless. Where it is answered, the failures
    are the rows' own; where it fails likewise, they concern the whole backend.
    """

    def __init__(self) -> None:
        self.answers = 0
        self._refusals = 0
        self._faults = 0
        self._ends = 0
        self._next_end = ENDS_AT_FIRST
        self._next_refusal = 1
        self._next_fault = FAULTS_AT_FIRST

    def answered(self) -> None:
        """A row was answered."""
        if not self.answers:
            self._next_refusal = REFUSALS_LATER
        self.answers += 1
        self._refusals = self._faults = 0

    def refused(self) -> bool:
        """A refusal without known words; whether to send a control request."""
        self._refusals += 1
        return self._refusals >= self._next_refusal

    def faulty(self) -> bool:
        """A body that is no answer; whether to send a control request."""
        self._faults += 1
        return not self.answers and self._faults >= self._next_fault

    def ended(self) -> bool:
        """A row ended without an answer for a known reason of its own; whether to send a control request."""
        self._ends += 1
        return not self.answers and self._ends >= self._next_end

    def settled(self) -> bool:
        """Whether nothing calls for a control request any longer (an answer came, or another one was just sent)."""
        if self.answers:
            return self._refusals < self._next_refusal
        return self._refusals < self._next_refusal and self._faults < self._next_fault and self._ends < self._next_end

    def cleared(self) -> None:
        """The control request was answered, or told nothing: look again only after many more failures."""
        self._next_refusal = max(REFUSALS_LATER, 2 * self._refusals)
        self._next_end = 2 * max(ENDS_AT_FIRST, self._ends)
        self._next_fault = 2 * max(FAULTS_AT_FIRST, self._faults)
