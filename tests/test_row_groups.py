"""Rows with equal inputs are one observation, and what joins them with given groups."""

from pathlib import Path

import numpy as np
import pytest

from harness.data.leakage_groups import RowGroups, RowGroupsBuilder, group_names
from harness.metrics import ACCURACY, CLASSIFICATION
from harness.records import Message, Request, Row, Sample, Score, number_repeats
from harness.summary.comparison import compare_means
from harness.summary.outcomes import OutcomeBuilder, RowTable
from tests.gate.building import finished, judged, make_run, right_but, sample


def of(*rows: tuple[str, str | None]) -> RowGroups:
    """Groups of rows given as (text, group)."""
    builder = RowGroupsBuilder()
    for text, group in rows:
        builder.add(Sample.of({"text": text}, "a", "test", group=group))
    return builder.build()


def codes(*rows: tuple[str, str | None]) -> list[int] | None:
    found = of(*rows).codes
    return None if found is None else found.tolist()


def test_different_rows_stand_on_their_own() -> None:
    assert codes(("a", None), ("b", None)) is None
    assert codes(("a", "g"), ("b", "h"), ("c", None)) is None
    assert codes() is None


def test_equal_inputs_are_one_group_whatever_their_case_white_space_or_reference() -> None:
    assert codes(("A  b", None), ("c", None), (" a B\n", None)) == [0, 1, 0]


def test_all_texts_of_a_row_count_and_each_in_its_place() -> None:
    builder = RowGroupsBuilder()
    for inputs in ({"x": "1", "y": "2"}, {"x": "2", "y": "1"}, {"y": "2", "x": "1"}, {"x": "1"}, {"x": "1 2"}):
        builder.add(Sample.of(inputs, "a", "test"))
    found = builder.build().codes
    assert found is not None and found.tolist() == [0, 1, 0, 2, 3]


def test_copies_and_given_groups_join_in_chains() -> None:
    rows = [("a", "g"), ("b", "h"), ("a", "h"), ("c", None), ("d", "g"), ("b", None), ("c", "i")]
    assert codes(*rows) == [0, 0, 0, 1, 0, 0, 1]


def test_turns_take_group_by_group_and_large_groups_are_not_first() -> None:
    copies = [(f"t{k}", None) for k in range(200) for _ in range(1 + 9 * (k % 2))]
    found = of(*copies)
    assert found.turns is not None and found.codes is not None
    in_turn = found.codes[found.turns]
    assert (np.diff(np.flatnonzero(np.diff(in_turn)) if len(in_turn) else in_turn) > 0).all()
    order = in_turn[np.concatenate(([True], np.diff(in_turn) != 0))]
    assert sorted(order) == list(range(200))  # every group once
    assert 30 <= int((order[:100] % 2).sum()) <= 70


def test_a_pair_of_answers_is_named_after_its_group() -> None:
    rows = [Sample.of({"text": t}, "", "test", group=g) for t, g in (("a", "g"), ("b", "g"), ("c", None), ("c", None))]
    names = group_names(rows)
    assert names[:2] == ["g", "g"]
    assert names[2] == names[3] and names[2] is not None
    assert group_names(rows[2:3]) == [None]


def _ten_times(count: int) -> list[Sample]:
    return [sample(k) for k in range(count) for _ in range(10)]


def test_copied_rows_are_no_more_evidence_than_their_originals() -> None:
    """One differing input in sixty, as it is and ten times over: about the same interval."""

    def interval(samples: list[Sample], times: int) -> tuple[float, float]:
        numbered = list(number_repeats(samples))
        rows = [
            Row(n=n, sample=s, request=Request(id=s.id, messages=(Message(role="user", content="?"),)))
            for n, s in enumerate(numbered)
        ]
        table = RowTable.of(rows, ())
        sides = []
        for wrong in ({3}, {5}):
            builder = OutcomeBuilder("generate", (ACCURACY,), (), len(rows), 1)
            for n in range(len(rows)):
                builder.add_score(n, 0, Score(answer="x", correct=n // times not in wrong))
            sides.append(builder.build())
        found = compare_means(ACCURACY, table, sides[0], sides[1], ("a", "b"), 0.9)
        assert found is not None
        return found.low, found.high

    once, ten = interval([sample(k) for k in range(60)], 1), interval(_ten_times(60), 10)
    assert ten[1] - ten[0] > 0.7 * (once[1] - once[0])


def test_run_and_gate_say_that_copies_count_as_one_group(tmp_path: Path) -> None:
    log = finished(
        make_run(tmp_path / "r", {"a": right_but(5), "b": right_but(7)}, _ten_times(30), metrics=CLASSIFICATION)
    )
    told = "30 distinct inputs among 300 rows: rows with equal inputs count as one group."
    summary = log.summary()
    assert summary is not None and told in summary.warnings
    assert told in judged(tmp_path, log, candidate="a", reference="b").warnings


@pytest.mark.parametrize("wrong", [(), (5,)])
def test_sixty_rows_ten_times_pass_no_margin_that_sixty_do_not(tmp_path: Path, wrong: tuple[int, ...]) -> None:
    copied = tuple(k * 10 + i for k in wrong for i in range(10))
    other = tuple(range(100, 110))
    log = finished(make_run(tmp_path / "r", {"a": right_but(*copied), "b": right_but(*other)}, _ten_times(60)))
    assert judged(tmp_path, log, candidate="a", reference="b").verdict == "inconclusive"
