from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from harness.errors import UsageError
from harness.metrics import MACRO_F1, Metric
from harness.statistics import confusion
from harness.statistics.confusion import counts_of_table, label_metric

LABELS = ("a", "b", "c", "never seen")


def _table(gold: np.ndarray, answers: np.ndarray, labels: int) -> np.ndarray:
    table = np.zeros((labels, labels + 1))
    np.add.at(table, (gold, answers), 1)
    return counts_of_table(table)


def _random(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 3, n)
    answers = np.where(rng.random(n) < 0.7, gold, rng.integers(0, 5, n))  # 4 is "(no label)"
    return gold, answers


@pytest.mark.parametrize("seed", range(5))
def test_the_metrics_are_scikit_learns_for_a_fixed_label_set(seed: int) -> None:
    gold, answers = _random(seed)
    table = _table(gold, answers, 4)
    for average, functions in (
        ("macro", (None, None, confusion.macro_f1)),
        ("weighted", (confusion.weighted_precision, confusion.weighted_recall, confusion.weighted_f1)),
        (None, (confusion.precision_per_class, confusion.recall_per_class, confusion.f1_per_class)),
    ):
        labels = range(3) if average == "macro" else range(4)  # no row has the fourth label
        theirs = precision_recall_fscore_support(gold, answers, average=average, labels=labels, zero_division=0)[:3]
        for function, value in zip(functions, theirs, strict=True):
            if function is not None:
                assert function(table) == pytest.approx(value)


def test_a_label_without_rows_is_in_no_macro_average() -> None:
    gold = np.array([0, 0, 1, 1, 2, 2])
    assert confusion.macro_f1(_table(gold, gold, 4)) == 1
    answers = np.array([0, 3, 1, 1, 2, 2])  # an answer of that label is wrong all the same
    assert confusion.macro_f1(_table(gold, answers, 4)) == pytest.approx(
        f1_score(gold, answers, labels=range(3), average="macro", zero_division=0)
    )
    assert confusion.macro_f1(np.zeros((3, 3))) == 0


def test_an_answer_without_a_label_is_wrong_but_nobodys_answer() -> None:
    table = counts_of_table(np.array([[3.0, 0.0, 1.0], [0.0, 4.0, 0.0]]))
    assert confusion.accuracy(table) == pytest.approx(7 / 8)
    assert confusion.precision_per_class(table) == pytest.approx([1, 1])
    assert confusion.recall_per_class(table) == pytest.approx([3 / 4, 1])


def test_many_tables_at_once_give_what_each_gives_alone() -> None:
    tables = np.stack([_table(*_random(seed), 4) for seed in range(6)]).reshape(2, 3, 3, 4)
    one_label: tuple[Callable[[confusion.Array], confusion.Array], ...] = (
        lambda t: confusion.f1(t, 1),
        lambda t: confusion.precision(t, 2),
    )
    for function in (*confusion.OF_ALL.values(), *one_label):
        together = function(tables)
        assert together.shape == (2, 3)
        for i in range(2):
            for j in range(3):
                assert together[i, j] == pytest.approx(function(tables[i, j]))


def test_an_empty_table_is_zero_and_not_nan() -> None:
    assert confusion.macro_f1(np.zeros((3, 3))) == 0
    assert confusion.weighted_precision(np.zeros((3, 3))) == 0


def test_a_metric_finds_its_function_and_a_misspelt_one_the_nearest() -> None:
    table = _table(*_random(0), 4)
    assert label_metric(MACRO_F1, LABELS)(table) == pytest.approx(confusion.macro_f1(table))
    one = label_metric(Metric(name="recall", kind="confusion", positive="b"), LABELS)
    assert one(table) == pytest.approx(confusion.recall_per_class(table)[1])
    with pytest.raises(UsageError, match="did you mean 'macro_f1'"):
        label_metric(Metric(name="macro_f", kind="confusion"), LABELS)
    with pytest.raises(UsageError, match="positive label out of a, b"):
        label_metric(Metric(name="f1", kind="confusion", positive="z"), LABELS)
