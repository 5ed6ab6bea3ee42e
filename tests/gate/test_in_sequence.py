"""The one function that judges in sequence: graded values, groups, limits, and answers without a value."""

import numpy as np
import pytest

from harness.gating.early_stopping import EarlyStop, EarlyStopTerms, Outside
from harness.gating.gate_settings import Terms
from harness.gating.sequential_checks import (
    ArmValues,
    RowLayout,
    checks_of_terms,
    evaluate_sequentially,
    overall_decision,
)
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, MACRO_F1, Metric
from harness.records import Completion, Failure, LogLine, Message, Request, Row, Sample, Score, number_repeats

MARK = Metric(name="mark", row_value="mark", proportion=False, low=1.0, high=10.0)
ALONE = RowLayout(None, None)


def answers(metric: Metric, values: np.ndarray) -> ArmValues:
    return ArmValues({metric.name: values}, np.ones(len(values)))


def judged(metric: Metric, terms: Terms, mine: np.ndarray, theirs: np.ndarray) -> str | None:
    """The decision on all rows."""
    results = evaluate_sequentially(
        checks_of_terms({metric.name: terms}, (metric,)),
        ALONE,
        answers(metric, mine),
        answers(metric, theirs),
        len(mine),
        within=False,
        tests=1,
    )
    found = overall_decision(results)
    return None if found is None else found[0]


def test_marks_from_one_to_ten_are_judged_in_their_own_range() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.uniform(4, 9, 3000)
    noise = rng.normal(0, 0.3, 3000)
    assert judged(MARK, Terms(margin=0.5), np.clip(theirs + noise, 1, 10), theirs) == "pass"
    assert judged(MARK, Terms(margin=0.5), np.clip(theirs - 2 + noise, 1, 10), theirs) == "fail"


def test_a_few_graded_rows_decide_nothing_however_alike() -> None:
    theirs = np.full(20, 7.0)
    mine = theirs.copy()
    mine[3] = 7.05
    assert judged(MARK, Terms(margin=0.5), mine, theirs) is None


def test_values_without_a_range_and_tables_are_not_asked_in_sequence() -> None:
    unbounded = Metric(name="words", row_value="words", proportion=False)
    asked = {m.name: Terms(margin=0.1) for m in (unbounded, MACRO_F1, ACCURACY)}
    assert [c.metric.name for c in checks_of_terms(asked, (unbounded, MACRO_F1, ACCURACY))] == ["accuracy"]


def test_limits_are_judged_by_the_candidate_alone() -> None:
    rng = np.random.default_rng(1)
    few, many = (rng.random(800) < 0.01).astype(float), (rng.random(800) < 0.2).astype(float)
    nobody = np.full(800, np.nan)
    assert judged(FORMAT_ERROR_RATE, Terms(at_most=0.05), few, nobody) == "pass"
    assert judged(FORMAT_ERROR_RATE, Terms(at_most=0.05), many, nobody) == "fail"
    assert judged(ACCURACY, Terms(at_least=0.9), 1 - few, nobody) == "pass"


def test_an_answer_without_a_value_leaves_the_question_open() -> None:
    mine = np.ones(2000)
    mine[5] = np.nan
    theirs = np.where(np.arange(2000) % 10 == 0, 0.0, 1.0)
    assert judged(ACCURACY, Terms(margin=0.02), mine, theirs) is None


def test_what_the_candidate_owes_counts_as_the_worst_and_what_the_reference_owes_as_the_best() -> None:
    check = checks_of_terms({"mark": Terms(margin=0.5)}, (MARK,))
    half = np.array([0.0, 1.0])
    mine, theirs = (
        ArmValues({"mark": np.array([np.nan, 5.0])}, half),
        ArmValues({"mark": np.array([5.0, np.nan])}, half[::-1]),
    )
    (within,) = evaluate_sequentially(check, ALONE, mine, theirs, 2, within=True, tests=1)
    assert within.units.totals.tolist() == [1.0 - 5.0, 5.0 - 10.0]
    (outside,) = evaluate_sequentially(check, ALONE, mine, theirs, 2, within=False, tests=1)
    assert outside.units.totals.tolist() == [-4.0]


def rows_of(texts: list[str]) -> list[Row]:
    samples = number_repeats(Sample.of({"text": text}, "x", "test") for text in texts)
    question = (Message(role="user", content="?"),)
    return [Row(n=n, sample=s, request=Request(id=s.id, messages=question)) for n, s in enumerate(samples)]


def line(n: int, right: bool, error: bool = False) -> LogLine:
    failure = Failure(kind="timeout", message="") if error else None
    return LogLine.of(n, Completion(id=str(n), error=failure), None if error else Score(answer="x", correct=right))


@pytest.mark.parametrize("copies", [1, 10])
def test_rows_with_equal_inputs_are_one_bet_and_asked_together(copies: int) -> None:
    """Sixty inputs, all right but one: ten times the same rows decide no more than once."""
    rows = rows_of([f"text {k}" for k in range(60) for _ in range(copies)])
    theirs = np.ones(len(rows))
    theirs[:copies] = 0.0
    outside = {"a": Outside(answers(ACCURACY, theirs), "generate")}
    terms = EarlyStopTerms(reference="main.json", metric="accuracy", margin=0.02)
    watch = EarlyStop(terms, (ACCURACY,), rows, 1, ["a"], outside)
    order = range(len(rows)) if watch.turns is None else watch.turns.tolist()
    assert sorted(order) == list(range(len(rows)))
    for n in order:
        watch.observe("a", line(n, right=True))
    assert not watch.decided("a")


def test_groups_end_a_run_too_once_enough_of_them_have_come() -> None:
    rows = rows_of([f"text {k // 2}" for k in range(3000)])
    theirs = (np.arange(3000) // 2 % 9 > 0).astype(float)
    terms = EarlyStopTerms(reference="main.json", metric="accuracy", margin=0.02)
    outside = {"a": Outside(answers(ACCURACY, theirs), "generate")}
    watch = EarlyStop(terms, (ACCURACY,), rows, 1, ["a"], outside)
    assert watch.turns is not None
    asked = 0
    for n in watch.turns.tolist():
        if watch.decided("a"):
            break
        watch.observe("a", line(n, right=True))
        asked += 1
    assert watch.decision("a") is not None and asked < 1500


def test_errors_above_the_limit_of_the_gate_hold_a_decision_back() -> None:
    rows = rows_of([f"text {k}" for k in range(400)])
    theirs = np.zeros(400)
    terms = EarlyStopTerms(reference="main.json", metric="accuracy", margin=0.3)
    watch = EarlyStop(terms, (ACCURACY,), rows, 1, ["a"], {"a": Outside(answers(ACCURACY, theirs), "generate")})
    for n in range(100):
        watch.observe("a", line(n, right=True, error=n == 50))
    assert watch.decision("a") is not None
    watch.observe("a", line(100, right=True, error=True))
    assert not watch.decided("a")
    for n in range(101, 202):
        watch.observe("a", line(n, right=True))
    assert watch.decided("a")
