"""Validation rows come from the training split; nothing that is evaluated is ever learned."""

import json
from pathlib import Path

import pytest

from harness.adapters.recipe import Recipe
from harness.adapters.training_rows import carve, choose_rows, row_id
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.records import Completion, Sample, Score
from harness.tasks.agnews import AgNews


def test_validation_rows_are_carved_from_train_with_its_class_shares(rows: Path) -> None:
    chosen = choose_rows(AgNews(), str(rows), Recipe(validation_rows=20), None)
    assert (len(chosen.train), len(chosen.validation)) == (100, 20)
    assert {s.reference for s in chosen.validation} == set(AgNews.labels)
    assert not {s.id for s in chosen.train} & {s.id for s in chosen.validation}
    evaluated = {s.id for s in AgNews().samples(DataSource(location=str(rows), split="test"))}
    assert not evaluated & {s.id for s in (*chosen.train, *chosen.validation)}


def test_rows_of_one_group_and_rows_with_equal_inputs_stay_on_one_side() -> None:
    grouped = [Sample.of({"q": str(n)}, "x", "train", group=f"g{n // 5}") for n in range(100)]
    train, held = carve(grouped, 20, seed=1)
    assert len(held) == 20
    assert not {s.group for s in train} & {s.group for s in held}
    twice = [Sample.of({"q": str(n % 50)}, "x", "train") for n in range(100)]
    train, held = carve(twice, 20, seed=1)
    assert not {row_id(s) for s in train} & {row_id(s) for s in held}


def test_a_fifth_of_the_rows_at_most_goes_to_validation() -> None:
    samples = [Sample.of({"q": str(n)}, "x", "train") for n in range(50)]
    assert len(carve(samples, 500, seed=0)[1]) == 10


def test_rows_that_also_stand_in_the_evaluation_split_are_left_out_and_named(rows: Path) -> None:
    with (rows / "train.jsonl").open("a") as file:
        file.write((rows / "test.jsonl").read_text().splitlines()[3] + "\n")
    chosen = choose_rows(AgNews(), str(rows), Recipe(validation_rows=0), None)
    assert len(chosen.train) == 120
    assert "1 training rows are also in the evaluation split" in chosen.remarks[0]


def test_rows_that_nearly_repeat_an_evaluation_row_are_counted(rows: Path) -> None:
    def nearly() -> list[str]:
        chosen = choose_rows(AgNews(), str(rows), Recipe(validation_rows=0), None)
        return [remark for remark in chosen.remarks if "near duplicates" in remark]

    before = nearly()
    near = json.loads((rows / "test.jsonl").read_text().splitlines()[-1])
    near["text"] += "!"
    with (rows / "train.jsonl").open("a") as file:
        file.write(json.dumps(near) + "\n")
    assert nearly() != before
    assert "of 12 evaluation rows are near duplicates of training rows" in nearly()[0]


def test_targets_that_the_task_itself_calls_malformed_are_left_out_and_named(rows: Path) -> None:
    class Picky(AgNews):
        def score(self, sample: Sample, completion: Completion) -> Score:
            bad = "item 7 " in sample.inputs["text"]
            return Score(correct=not bad, format="no JSON" if bad else None)

    chosen = choose_rows(Picky(), str(rows), Recipe(validation_rows=0), None)
    assert len(chosen.train) == 119
    assert "1 of 120 targets are invalid and are left out" in chosen.remarks[0]
    assert "no JSON" in chosen.remarks[0]


def test_a_smaller_limit_is_a_prefix_of_a_larger_one(rows: Path) -> None:
    few, more = (choose_rows(AgNews(), str(rows), Recipe(validation_rows=10), n).train for n in (20, 40))
    assert [s.id for s in more[:20]] == [s.id for s in few]


def test_the_best_rows_by_a_column_can_be_chosen() -> None:
    class Voted(AgNews):
        def samples(self, source: DataSource) -> list[Sample]:
            if source.split != "train":
                raise UsageError("no such split")
            return [
                Sample.of({"text": str(n)}, self.labels[n % 4], "train", columns={"score": str(n)}) for n in range(40)
            ]

    chosen = choose_rows(Voted(), None, Recipe(validation_rows=0, rows=8, best_by="score"), None)
    assert {s.inputs["text"] for s in chosen.train} == {str(n) for n in range(32, 40)}
    assert chosen.remarks == ["no evaluation split beside the training split: not checked for shared rows."]


def test_a_label_that_no_training_row_has_is_refused(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"item {n}", "label": ["World", "Sports"][n % 2]}) for n in range(20)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    with pytest.raises(UsageError, match="no training row has the label Business, Sci/Tech"):
        choose_rows(AgNews(), str(tmp_path), Recipe(validation_rows=0), None)


def test_an_empty_training_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(UsageError, match="holds no rows"):
        choose_rows(AgNews(), str(tmp_path), Recipe(), None)
