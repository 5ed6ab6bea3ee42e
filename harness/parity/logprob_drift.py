"""How far both sides' log-probabilities of the answered label lie apart, where the served copy's server gives them."""

from collections.abc import Sequence

from harness.parity.answered_rows import AnsweredRow
from harness.parity.parity_result import LogProbDrift
from harness.records import Completion


def answered_label_score(line: Completion) -> float | None:
    """The log-probability of the answered label, where a server gave it."""
    scores = line.label_scores or {}
    return next((value for label, value in scores.items() if label == line.text.strip()), None)


def logprob_drift(rows: Sequence[AnsweredRow], known: Sequence[Completion]) -> LogProbDrift | None:
    """The drift over rows with equal texts. known: the reference's log-likelihoods of all labels, a row each.

    None where no row has both.
    """
    gaps = []
    for one, answer in zip(rows, known, strict=True):
        mine, theirs = (answer.label_scores or {}).get(one.served.text.strip()), answered_label_score(one.served)
        if mine is not None and theirs is not None:
            gaps.append(abs(mine - theirs))
    return LogProbDrift(rows=len(gaps), mean=sum(gaps) / len(gaps), largest=max(gaps)) if gaps else None
