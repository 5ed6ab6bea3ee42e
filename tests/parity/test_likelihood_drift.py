"""Probabilities of equal answers: how far they lie apart, and what that says of the weights."""

import math

import pytest

from harness.deployment.answered_rows import AnsweredRow
from harness.deployment.likelihood_drift import LEAST_ROWS, TextLikelihood, drift_finding, log_odds, measured_drift
from harness.deployment.parity_result import LogProbDrift
from harness.deployment.server_facts import ServedModelFacts
from harness.records import Completion, LogLine, Message, Request, Row, Sample, TokenLogprobs


def answered(n: int, text: str = "good") -> AnsweredRow:
    request = Request(id=str(n), messages=(Message(role="user", content="?"),))
    row = Row(n=n, sample=Sample(id=str(n), inputs={}, reference="good", split="test"), request=request)
    line = LogLine(id=str(n), n=n, text=text, finish="stop")
    return AnsweredRow(row, line, line)


def served(n: int, probability: float, text: str = "good") -> Completion:
    """An answer of two tokens."""
    tokens = TokenLogprobs(mean=math.log(probability) / 2, least=-9.0, tokens=2)
    return Completion(id=str(n), text=text, finish="stop", token_logprobs=tokens)


def likely(probability: float, tokens: int = 2) -> list[TextLikelihood | None]:
    return [TextLikelihood(math.log(probability), tokens)] * LEAST_ROWS


@pytest.mark.parametrize("p", [0.0001, 0.2, 0.5, 0.9, 0.999])
def test_log_odds_of_a_log_probability(p: float) -> None:
    assert log_odds(math.log(p)) == pytest.approx(math.log(p / (1 - p)))


def test_a_sure_answer_has_bounded_log_odds() -> None:
    assert log_odds(0.0) == log_odds(-1e-6) == pytest.approx(math.log(1e4), rel=1e-3)
    assert log_odds(-800.0) == pytest.approx(-800.0)


def test_the_drift_is_that_of_the_log_odds() -> None:
    rows = [answered(n) for n in range(LEAST_ROWS)]
    answers = [served(n, 0.8) for n in range(LEAST_ROWS)]
    drift = measured_drift(rows, answers, {None: likely(0.6), 8: likely(0.6), 4: likely(0.5)})
    assert drift is not None and drift.rows == LEAST_ROWS
    assert drift.mean == pytest.approx(math.log(0.8 / 0.6)) == drift.largest
    assert drift.log_odds == pytest.approx(math.log(4) - math.log(1.5))
    assert drift.eight_bits == 0.0
    assert drift.four_bits == pytest.approx(math.log(1.5))


def test_rows_with_another_answer_or_without_probabilities_are_left_out() -> None:
    rows = [answered(n) for n in range(LEAST_ROWS)]
    answers = [served(n, 0.8) for n in range(LEAST_ROWS)]
    known = likely(0.6)
    changed = [served(0, 0.8, text="bad"), *answers[1:]]
    assert measured_drift(rows, changed, {None: known}) is None
    silent = [Completion(id="0", text="good", finish="stop"), *answers[1:]]
    assert measured_drift(rows, silent, {None: known}) is None
    assert measured_drift(rows, answers, {None: [None, *known[1:]]}) is None
    assert measured_drift(rows, answers, {None: likely(0.6, tokens=3)}) is None, "split into other tokens"
    assert measured_drift(rows, answers, {None: known}) is not None


@pytest.mark.parametrize(
    ("log_odds_drift", "bits", "kind"),
    [
        (0.05, 16.0, None),
        (0.39, 8.5, None),
        (0.41, 8.5, "other weights"),
        (0.41, 16.0, "other weights"),
        (0.41, None, "quantisation"),
        (3.9, None, "quantisation"),
        (4.1, None, "other weights"),
        (3.9, 4.5, None),
        (4.1, 4.5, "other weights"),
    ],
)
def test_weights_are_others_where_rounding_explains_less(
    log_odds_drift: float, bits: float | None, kind: str | None
) -> None:
    drift = LogProbDrift(rows=24, mean=0.1, largest=1.0, log_odds=log_odds_drift, eight_bits=0.1, four_bits=1.0)
    finding = drift_finding(drift, None if bits is None else ServedModelFacts(bits=bits))
    assert (None if finding is None else finding.kind) == kind
    assert finding is None or finding.level == ("fault" if kind == "other weights" else "note")
    assert finding is None or f"log-odds differ by {log_odds_drift:.2f}" in finding.sentence


def test_exact_weights_forgive_the_last_digits() -> None:
    drift = LogProbDrift(rows=24, mean=0.0, largest=0.0, log_odds=0.01, eight_bits=0.0, four_bits=0.0)
    assert drift_finding(drift, None) is None
    assert drift_finding(None, None) is None
