"""Metrics as data: range, unit, and which two may be held against each other."""

import msgspec
import pytest

from harness.metrics import ACCURACY, CLASSIFICATION, MACRO_F1, Metric

MARKS = Metric(name="marks", row_value="marks", proportion=False, low=1, high=10)


def test_rates_and_tables_lie_between_0_and_1_and_count_in_points() -> None:
    for metric in CLASSIFICATION:
        assert metric.bounds == (0, 1) and metric.in_points and metric.difference_unit == "points"


def test_a_graded_metric_has_the_range_and_unit_that_it_declares() -> None:
    assert MARKS.bounds == (1, 10) and not MARKS.in_points and MARKS.difference_unit == ""
    score = Metric(name="overlap", row_value="overlap", proportion=False, low=0, high=1)
    assert score.in_points and score.difference_unit == "points"
    words = Metric(name="words", row_value="words", proportion=False, low=0, unit="words")
    assert words.bounds is None and words.difference_unit == "words"


@pytest.mark.parametrize("ends", [{"low": 1, "high": 1}, {"low": 2, "high": 1}, {"high": float("inf")}])
def test_an_empty_range_is_refused(ends: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="the range goes from a finite low to a finite high above it"):
        Metric(name="marks", proportion=False, low=ends.get("low"), high=ends.get("high"))


def test_metrics_stored_before_ranges_were_declared_read_back_and_may_be_compared() -> None:
    stored = msgspec.json.decode(b'{"name": "marks", "row_value": "marks", "proportion": false}', type=Metric)
    assert stored.bounds is None
    assert MARKS.same_measure(stored) and stored.same_measure(MARKS)
    assert not MARKS.same_measure(msgspec.structs.replace(MARKS, high=5))
    assert not MARKS.same_measure(msgspec.structs.replace(MARKS, version=2))
    assert msgspec.json.encode(ACCURACY) == b'{"name":"accuracy","row_value":"correct"}'


def test_figures_of_a_table_are_computed_anew_whatever_their_version_was() -> None:
    assert MACRO_F1.same_measure(msgspec.structs.replace(MACRO_F1, version=1))
    one = Metric(name="f1", kind="confusion", proportion=False, positive="yes")
    assert not one.same_measure(msgspec.structs.replace(one, positive="no"))
