"""Few rows a label, graded scores, groups: which figures are shown, and where nothing is concluded."""

import msgspec
import numpy as np
import pytest

from harness.metrics import ACCURACY, CLASSIFICATION, MACRO_F1, Estimate, Metric
from harness.statistics.clustered import clustered_mean, degrees_of_freedom, effective_groups
from harness.statistics.confusion import OF_ALL, counts_of_table
from harness.summary.comparison import Comparison, compare_all
from harness.summary.estimates import estimate_all
from harness.summary.outcomes import Outcomes, RowTable
from harness.summary.ranking import as_pair

SCORE = Metric(name="overlap", row_value="overlap", proportion=False, low=0, high=1)
MARKS = Metric(name="marks", row_value="marks", proportion=False, low=1, high=10)
F1 = Metric(name="f1", kind="confusion", proportion=False, positive="l0")
RECALL = Metric(name="recall", kind="confusion", proportion=False, positive="l0")
TABLES = tuple(m for m in CLASSIFICATION if m.kind == "confusion")


def table(gold: list[int] | np.ndarray, labels: int, groups: np.ndarray | None = None) -> RowTable:
    return RowTable(tuple(f"l{k}" for k in range(labels)), np.array(gold, dtype=np.int64), groups, {})


def side(gold: list[int] | np.ndarray, answers: list[int] | np.ndarray) -> Outcomes:
    right = np.array(gold) == np.array(answers)
    return Outcomes("generate", {"accuracy": right.astype(float)}, np.array(answers, dtype=np.int64)[:, None])


def scored(values: np.ndarray, metric: Metric = SCORE) -> Outcomes:
    return Outcomes("generate", {metric.name: values}, np.zeros((len(values), 1), dtype=np.int64))


def compared(metric: Metric, x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Comparison:
    rows = table([0] * len(x), 1, groups)
    return compare_all((metric,), rows, scored(x, metric), scored(y, metric), ("a", "b"), 0.9)[metric.name]


def test_labels_with_one_row_each_have_no_interval_and_no_verdict() -> None:
    gold = np.arange(40)
    a, b = gold.copy(), gold.copy()
    b[3] = 4
    figure = estimate_all((MACRO_F1,), table(gold, 40), side(gold, a), "a", 500)["macro_f1"]
    assert (figure.value, figure.low, figure.high) == (1.0, None, None)
    assert figure.method == "no interval: 40 labels have one row"
    found = compare_all((MACRO_F1,), table(gold, 40), side(gold, a), side(gold, b), ("a", "b"), 0.9, 500)["macro_f1"]
    assert not np.isfinite(found.low)
    assert found.no_verdict == (
        "no verdict: 40 labels have fewer than 5 rows; such labels may make up 20 % of macro_f1"
    )
    assert as_pair("a", "b", found, 0.001).verdict == "not distinguishable"


def test_a_few_rare_labels_among_many_leave_a_verdict() -> None:
    gold = np.concatenate([np.repeat(np.arange(9), 30), [9, 9]])
    found = compare_all((MACRO_F1,), table(gold, 10), side(gold, gold), side(gold, gold), ("a", "b"), 0.9, 500)
    assert found["macro_f1"].no_verdict == "" and np.isfinite(found["macro_f1"].low)


@pytest.mark.parametrize("answer", [0, 3])
def test_a_model_that_always_answers_one_label_has_an_interval_of_some_width(answer: int) -> None:
    """Answer 0 is always the first label, 3 is none at all: F1 0, and it could have come out otherwise."""
    gold = np.repeat(np.arange(3), 12)
    answers = np.full(36, answer)
    for metric in (*TABLES, F1, RECALL):
        found = estimate_all((metric,), table(gold, 3), side(gold, answers), "a", 500)[metric.name]
        if found.low is not None and found.high is not None:
            assert found.high - found.low > 0.05, metric.name
    macro = estimate_all((MACRO_F1,), table(gold, 3), side(gold, answers), "a", 500)["macro_f1"]
    assert macro.low is not None and macro.high is not None and macro.low < (macro.value or 0.0) + 1e-9 < macro.high


def test_a_label_without_rows_is_left_out_and_named() -> None:
    gold = np.repeat([0, 1], 60)
    found = estimate_all((MACRO_F1, F1), table(gold, 3), side(gold, gold), "a", 500)
    assert found["macro_f1"].value == 1 and found["macro_f1"].method.endswith("without labels that have no rows: l2")
    absent = msgspec.structs.replace(F1, positive="l2")
    assert estimate_all((absent,), table(gold, 3), side(gold, gold), "a", 500)["f1"] == Estimate(
        value=None, method="no row has the label l2"
    )


def test_equal_quantities_have_equal_intervals() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 4, 300)
    a = np.where(rng.random(300) < 0.8, gold, rng.integers(0, 4, 300))
    b = np.where(rng.random(300) < 0.7, gold, rng.integers(0, 4, 300))
    rows, metrics = table(gold, 4), (ACCURACY, *TABLES)
    figures = estimate_all(metrics, rows, side(gold, a), "a", 500)
    assert figures["weighted_recall"] == figures["accuracy"]
    pair = compare_all(metrics, rows, side(gold, a), side(gold, b), ("a", "b"), 0.95, 500)
    one, other = pair["weighted_recall"], pair["accuracy"]
    assert (one.low, one.high, one.p, one.method) == (other.low, other.high, other.p, other.method)


def test_a_run_compared_with_itself_differs_by_nothing_in_every_metric_alike() -> None:
    gold = np.repeat(np.arange(4), 75)
    answers = np.where(np.arange(300) % 9 == 0, (gold + 1) % 4, gold)
    same = side(gold, answers)
    pair = compare_all((ACCURACY, *TABLES), table(gold, 4), same, same, ("a", "b"), 0.95, 500)
    for name, found in pair.items():
        assert found.gain == 0 and found.low == pytest.approx(pair["accuracy"].low, abs=1e-9), name
        assert found.high == pytest.approx(pair["accuracy"].high, abs=1e-9), name


def test_recall_and_f1_of_a_label_are_rates_of_its_rows() -> None:
    gold = np.array([0] * 8 + [1] * 92)
    answers = np.array([0] * 7 + [1] + [1] * 90 + [0] * 2)
    found = estimate_all((F1, RECALL), table(gold, 2), side(gold, answers), "a", 500)
    from harness.statistics.proportions import wilson

    assert (found["recall"].low, found["recall"].high) == pytest.approx(wilson(7, 8))
    jaccard = np.array(wilson(7, 10))
    assert found["f1"].value == pytest.approx(14 / 17)
    assert (found["f1"].low, found["f1"].high) == pytest.approx(tuple(2 * jaccard / (1 + jaccard)))


def test_five_graded_rows_have_no_interval_and_four_ties_are_no_verdict() -> None:
    few = estimate_all((SCORE,), table([0] * 5, 1), scored(np.full(5, 0.8)), "a")["overlap"]
    assert (few.value, few.low, few.method) == (0.8, None, "no interval: 5 rows, fewer than 20")
    found = compared(SCORE, np.array([0.8, 0.8, 0.8, 0.8, 0.85]), np.full(5, 0.8))
    assert found.no_verdict == "no verdict: 5 rows, and a graded metric needs at least 20"
    assert not np.isfinite(found.low) and found.p == 1
    many = compared(SCORE, np.append(np.full(97, 0.8), [0.9] * 3), np.full(100, 0.8))
    assert many.no_verdict.endswith(
        "3 of 100 rows differ, and a graded metric needs 10; about 334 rows would have them"
    )
    assert many.low < -0.025


def test_rare_total_losses_are_not_passed_and_a_metric_without_a_range_is_not_judged() -> None:
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(40):
        lost = rng.random(200) < 0.02
        found = compared(SCORE, np.where(lost, 0.0, 0.9) + 1e-3 * rng.random(200), np.full(200, 0.9))
        passed += found.low > -0.9 * 0.02
    assert passed <= 2 + 3 * (40 * 0.05 * 0.95) ** 0.5
    words = Metric(name="words", row_value="words", proportion=False, low=0, unit="words")
    open_ended = compared(words, rng.integers(5, 90, 60).astype(float), rng.integers(5, 90, 60).astype(float))
    assert "words declares no range" in open_ended.no_verdict


def test_marks_keep_their_own_range_and_unit() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(6, 9, 200), rng.uniform(6, 9, 200)
    found, figure = compared(MARKS, x, y), estimate_all((MARKS,), table([0] * 200, 1), scored(x, MARKS), "a")["marks"]
    assert -9 < found.low < x.mean() - y.mean() < found.high < 9
    assert figure.low is not None and figure.high is not None and 1 < figure.low < x.mean() < figure.high < 10
    assert figure.method == "betting 95 % over 200 rows"


def test_effective_groups_and_their_degrees_of_freedom() -> None:
    assert effective_groups(np.full(12, 7.0)) == pytest.approx(12)
    assert degrees_of_freedom(np.full(12, 7.0)) == pytest.approx(11)
    half = np.append(29.0, np.ones(29))
    assert effective_groups(half) == pytest.approx(4 / (1 + 1 / 29))
    w = half / half.sum()
    centring = np.eye(30) - np.outer(np.ones(30), w)
    form = np.diag(w**2 / (1 - w)) @ centring @ centring.T
    assert degrees_of_freedom(half) == pytest.approx(np.trace(form) ** 2 / np.trace(form @ form))


@pytest.mark.parametrize("shares", ["equal", "one with half of the rows", "Zipf"])
@pytest.mark.parametrize("groups", [12, 30, 100])
def test_a_dominating_group_keeps_the_level(shares: str, groups: int) -> None:
    """Group effects on top of row noise, the loss exactly at the margin: a 95 % bound misses it in 5 % of runs."""
    rng, runs = np.random.default_rng(groups), 250
    weights = {
        "equal": np.ones(groups),
        "one with half of the rows": np.append(groups - 1.0, np.ones(groups - 1)),
        "Zipf": 1 / np.arange(1.0, groups + 1),
    }[shares]
    sizes = np.maximum(1, np.round(600 * weights / weights.sum())).astype(int)
    codes = np.repeat(np.arange(groups), sizes)
    passed = covered = 0
    for _ in range(runs):
        values = -0.02 + rng.normal(0, 0.1, groups)[codes] + rng.normal(0, 0.25, len(codes))
        mean = clustered_mean(values, codes)
        passed += mean.interval(0.9)[0] > -0.02
        low, high = mean.interval(0.95)
        covered += low <= -0.02 <= high
    assert passed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert covered / runs >= 0.94 - 3 * (0.95 * 0.05 / runs) ** 0.5


def test_rows_under_one_dominating_group_get_no_verdict_and_say_so() -> None:
    codes = np.append(np.zeros(60), np.arange(1, 41)).astype(np.int64)
    rng = np.random.default_rng(3)
    gold = np.zeros(100, dtype=np.int64)
    rows = table(gold, 2, codes)
    a, b = (side(gold, (rng.random(100) < 0.3).astype(int)) for _ in range(2))
    found = compare_all((ACCURACY, MACRO_F1), rows, a, b, ("a", "b"), 0.9, 500)
    for comparison in found.values():
        assert comparison.no_verdict.startswith("no verdict: 41 groups say as much as 2.7 of one size"), comparison
    assert "over 41 groups, 2.7 effective" in found["accuracy"].method


@pytest.mark.parametrize(("labels", "rows", "skewed"), [(4, 5, False), (20, 2, False), (20, 5, False), (20, 10, True)])
def test_macro_f1_of_few_rows_a_label_covers(labels: int, rows: int, skewed: bool) -> None:
    """60 data sets each; the true value is that of 200 times as many rows."""
    rng, runs = np.random.default_rng(labels + rows), 60
    sizes = np.maximum(2, rows * labels * (1 / np.arange(1, labels + 1)) / 3).astype(int) if skewed else [rows] * labels
    gold = np.repeat(np.arange(labels), sizes)

    def answers(gold: np.ndarray, right: float) -> np.ndarray:
        wrong = (gold + 1 + rng.integers(0, labels - 1, len(gold))) % labels
        return np.where(rng.random(len(gold)) < right, gold, wrong)

    def value(gold: np.ndarray, answers: np.ndarray) -> float:
        tables = np.zeros((labels, labels + 1))
        np.add.at(tables, (gold, answers), 1)
        return float(OF_ALL["macro_f1"](counts_of_table(tables)))

    many = np.tile(gold, 200)
    true = value(many, answers(many, 0.8)), value(many, answers(many, 0.75))
    single = paired = 0
    for k in range(runs):
        a, b = side(gold, answers(gold, 0.8)), side(gold, answers(gold, 0.75))
        figure = estimate_all((MACRO_F1,), table(gold, labels), a, f"a{k}", 300)["macro_f1"]
        difference = compare_all((MACRO_F1,), table(gold, labels), a, b, ("a", f"b{k}"), 0.95, 300)["macro_f1"]
        assert figure.low is not None and figure.high is not None
        single += figure.low <= true[0] <= figure.high
        paired += difference.low <= true[0] - true[1] <= difference.high
    least = 0.94 - 3 * (0.95 * 0.05 / runs) ** 0.5
    assert single / runs >= least and paired / runs >= least
