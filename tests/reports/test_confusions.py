"""Confusions of any number of labels fit a page: a matrix, a dense one with a list, a heat map with a list."""

import msgspec
import pytest

from harness.reports.detail_tables import ConfusionView, confusions
from harness.results import Confusion, Summary


def view(summary: Summary, labels: int) -> ConfusionView:
    """The view of a backend that takes every third label for the next one, on two of twenty rows."""
    names = tuple(f"label {n}" for n in range(labels))

    def rows_of(y: int, x: int) -> int:
        mistaken = y % 3 == 0
        return (18 if mistaken else 20) if x == y else 2 if mistaken and x == (y + 1) % labels else 0

    counts = tuple(tuple(rows_of(y, x) for x in range(labels)) for y in range(labels))
    table = Confusion(labels=names, answers=names, counts=counts)
    backend = msgspec.structs.replace(summary.backends["gpt4"], confusion=table)
    return confusions(msgspec.structs.replace(summary, backends={"gpt4": backend}))[0]


def test_few_labels_are_a_table_with_every_count(summary: Summary) -> None:
    found = view(summary, 4)
    assert found.matrix is not None and found.top is None and not found.dense
    assert [cell.text for cell in found.matrix.rows[0]] == ["label 0", "18", "2", "0", "0"]


def test_a_dozen_labels_are_a_dense_table_beside_the_most_frequent_confusions(summary: Summary) -> None:
    found = view(summary, 12)
    assert found.matrix is not None and found.dense and found.top is not None
    assert [cell.text for cell in found.matrix.rows[0]] == ["label 0", "18", "2", *"·" * 10]
    assert [cell.text for cell in found.top.rows[0]] == ["label 0", "label 1", "2", "10.0"]
    assert len(found.top.rows) == 4


@pytest.mark.parametrize("labels", [77, 150])
def test_many_labels_are_a_heat_map_beside_a_list(summary: Summary, labels: int) -> None:
    found = view(summary, labels)
    assert found.matrix is None and (found.width, found.height) == (labels, labels)
    wrong = -(-labels // 3)
    assert len(found.squares) == labels + wrong
    assert found.squares[0].share == 0.9 and found.squares[0].title == ""
    assert found.squares[1].title == "label 0 answered as label 1: 2 of 20"
    assert found.top is not None and len(found.top.rows) == min(40, wrong)
