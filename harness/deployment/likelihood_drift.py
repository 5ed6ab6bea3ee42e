"""How far the probabilities of equal answers lie apart, against what rounding of the weights does to them.

Two models may give one answer to every row and yet be two models: another revision of the base shows in the
probabilities first. The scale is the log-odds of the answer, which move as the logits do: the log-probability of an
answer of which a model is sure hardly moves at all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.deployment.answered_rows import AnsweredRow
from harness.deployment.parity_result import LogProbDrift, ParityFinding
from harness.deployment.server_facts import ServedModelFacts
from harness.deployment.weight_faults import EIGHT_BITS
from harness.records import Completion
from harness.text_format import count_noun

LEAST_ROWS = 8
"""Fewer rows than this show no drift."""

BEYOND = 4.0
"""Other weights are those that drift by more than this many times the simulated rounding. llama.cpp, whose kernels
round activations too, moved a real adapter's answers by 2.0 times the rounding to 8 bits; a base that was trained
further moved them by 8.7 times (24 rows each)."""

SUREST = -1e-4
"""Log-probabilities above it are taken as it: float32 holds no more of an answer's odds."""

NO_DRIFT = 0.02
"""Nats of log-odds that are no drift at all, whatever rounding does."""


class TextLikelihood(NamedTuple):
    """The natural log-probability of a whole text, its end left out, and the tokens that it is of."""

    log_probability: float
    tokens: int


def answer_likelihood(line: Completion) -> TextLikelihood | None:
    """What a server gives to its own answer; None where it gives no log-probabilities."""
    known = line.token_logprobs
    return None if known is None else TextLikelihood(known.mean * known.tokens, known.tokens)


def log_odds(log_probability: float) -> float:
    """ln(p / (1 - p)) of a natural log-probability, bounded where p is 1 up to rounding."""
    bounded = min(log_probability, SUREST)
    return bounded - math.log(-math.expm1(bounded))


Pair = tuple[float, float]
"""Log-probabilities of one answer: by the reference, and by the other side."""


def measured_drift(
    rows: Sequence[AnsweredRow],
    served: Sequence[Completion],
    likelihoods: Mapping[int | None, Sequence[TextLikelihood | None]],
) -> LogProbDrift | None:
    """The drift over rows whose served answer is the reference's, in as many tokens; None below LEAST_ROWS of them.

    served: what the served copy answers to `rows`, with log-probabilities, by id. likelihoods: of the reference's own
    answers, a row each, with whole weights (None) and with weights of so many bits.
    """
    answers = {answer.id: answer for answer in served if answer.error is None}
    pairs: list[Pair] = []
    rounded: dict[int, list[Pair]] = {bits: [] for bits in likelihoods if bits is not None}
    for n, one in enumerate(rows):
        answer, whole = answers.get(one.row.request.id), likelihoods[None][n]
        theirs = None if answer is None else answer_likelihood(answer)
        if answer is None or whole is None or theirs is None or theirs.tokens != whole.tokens:
            continue
        if answer.text.strip() != one.reference.text.strip():
            continue
        pairs.append((whole.log_probability, theirs.log_probability))
        for bits, found in rounded.items():
            value = likelihoods[bits][n]
            if value is not None:
                found.append((whole.log_probability, value.log_probability))
    if len(pairs) < LEAST_ROWS:
        return None
    gaps = [abs(mine - theirs) for mine, theirs in pairs]
    return LogProbDrift(
        rows=len(pairs),
        mean=sum(gaps) / len(gaps),
        largest=max(gaps),
        log_odds=_mean_gap(pairs),
        eight_bits=_mean_gap(rounded.get(8, [])),
        four_bits=_mean_gap(rounded.get(4, [])),
    )


def _mean_gap(pairs: Sequence[Pair]) -> float | None:
    return sum(abs(log_odds(mine) - log_odds(theirs)) for mine, theirs in pairs) / len(pairs) if pairs else None


def drift_finding(drift: LogProbDrift | None, facts: ServedModelFacts | None) -> ParityFinding | None:
    """Other weights, where the probabilities of equal answers drift by more than BEYOND times what rounding explains.

    What may be explained: rounding to 8 bits where the server says that its weights have as many, else to 4 bits; a
    server that says nothing and drifts in between has probably rounded them.
    """
    if drift is None or drift.log_odds is None or drift.eight_bits is None or drift.four_bits is None:
        return None
    few, many = (max(NO_DRIFT, BEYOND * value) for value in (drift.eight_bits, drift.four_bits))
    bits = None if facts is None else facts.bits
    if drift.log_odds <= few:
        return None
    told = (
        f"the answers of {count_noun(drift.rows, 'row')} are equal, but their log-odds differ by {drift.log_odds:.2f} "
        f"in the mean; rounding to 8 bits moves them by {drift.eight_bits:.2f}, to 4 bits by {drift.four_bits:.2f}"
    )
    if drift.log_odds > many or (bits is not None and bits >= EIGHT_BITS):
        return ParityFinding(
            kind="other weights",
            level="fault",
            count=drift.rows,
            rows=drift.rows,
            sentence=f"other weights answer: {told}. Compare the revision of the base and the SHA-256 of the adapter "
            "on the server with those of the adapter's manifest.",
        )
    if bits is not None:
        return None
    return ParityFinding(
        kind="quantisation",
        level="note",
        count=drift.rows,
        rows=drift.rows,
        sentence=f"the served weights seem to be quantised, or others: {told}.",
    )
