"""A training whose validation is no better than a constant answer says so."""

from pathlib import Path
from typing import Any

import pytest

from harness.adapter_manifest import AdapterManifest
from harness.adapters.text_summary import training_summary
from harness.metrics import ACCURACY, MACRO_F1
from harness.task_file import FileTask
from harness.training_record import commonest_share, constant_facts, constant_line, validation_findings


def manifest(
    score: float, share: float | None = None, rows: int = 100, constant: float | None = 0.625
) -> AdapterManifest:
    facts: dict[str, Any] = {"rows": rows, "metric": "accuracy", "step": 40}
    if constant is not None:
        facts["constant"] = {"label": "0", "accuracy": constant}
    metrics = {"validation_accuracy": score} | ({"validation_commonest_answer_share": share} if share else {})
    return AdapterManifest(
        id="a1",
        task="t",
        task_version="1",
        base="tiny",
        labels=("0", "1"),
        data={"rows": 300, "source": "rows.csv"},
        selection=facts,
        metrics=metrics,
    )


def test_a_score_below_the_constant_is_called_out_and_the_constant_stands_beside_every_score() -> None:
    found = manifest(0.55)
    assert validation_findings(found) == [
        "accuracy 0.550 on 100 rows; always answering '0' gives 0.625: the training has learned nothing useful; try "
        "another learning rate, more rows or more epochs."
    ]
    said = training_summary(Path("adapter"), found)
    assert "accuracy 0.550 on 100 rows held back from training (checkpoint of step 40); always answering '0'" in said
    assert "  ! accuracy 0.550 on 100 rows;" in said


def test_a_useful_training_is_not_called_out() -> None:
    found = manifest(0.9, share=0.63)
    assert validation_findings(found) == []
    assert constant_line(found) == "always answering '0' gives 0.625"
    assert "!" not in training_summary(Path("adapter"), found)


def test_one_answer_everywhere_is_called_out() -> None:
    assert validation_findings(manifest(0.63, share=0.99)) == [
        "one and the same answer was given on 99 % of 100 validation rows."
    ]
    assert validation_findings(manifest(0.97, share=0.96, constant=0.95)) == []


def test_few_rows_and_manifests_without_the_constant_say_nothing() -> None:
    assert validation_findings(manifest(0.5, rows=8)) == []
    assert validation_findings(manifest(0.1, constant=None)) == []
    assert constant_line(manifest(0.1, constant=None)) == ""


def test_the_constant_is_that_of_the_validation_rows(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('prompt = "{{ text }}"\nreference = "label"\nlabels = ["a", "b"]\n')
    task = FileTask(file)
    assert constant_facts(task, ["a", "b", "b", "b"]) == {"constant": {"label": "b", "accuracy": 0.75}}
    assert constant_facts(task, []) == {}
    assert task.metrics[0] == ACCURACY != MACRO_F1


@pytest.mark.parametrize(("answers", "share"), [(["a", "a", "b", None], 0.5), ([None, None, "a"], None), ([], None)])
def test_the_share_of_the_commonest_label(answers: list[str | None], share: float | None) -> None:
    assert commonest_share(answers) == share
