"""`bench data check` says what a data set hides."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.data import data
from harness.errors import UsageError
from tests.support.shared import SHARED, needs_shared


def check(*arguments: str) -> str:
    done = CliRunner().invoke(data, ["check", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_clean_sample_has_nothing_to_hide() -> None:
    said = check("--task", "qqp", "--data", "embedded")
    assert "train: 160 rows" in said
    assert "0 of 60 evaluated rows are also in the training rows: 0 exactly (0 of 60 distinct ones), 0 nearly." in said


def test_shared_repeated_and_torn_rows_are_counted(tmp_path: Path) -> None:
    head = "question1\tquestion2\tis_duplicate\n"
    (tmp_path / "train.tsv").write_text(head + "What is a?\tWhat is b?\t0\nWhat is a?\tWhat is b?\t1\ntorn\n")
    (tmp_path / "dev.tsv").write_text(head + "what is B?\twhat is A?\t0\nWho is c?\tWhy is d?\t0\n")
    found = json.loads(check("--task", "qqp", "--data", str(tmp_path), "--json"))
    assert (found["splits"]["train"]["rows"], found["splits"]["train"]["distinct"]) == (2, 1)
    assert "1 lines do not hold 3 fields" in found["splits"]["train"]["remarks"][0]
    assert (len(found["shared"]), found["near"], found["shared_distinct"]) == (1, [], 1)
    with (tmp_path / "dev.tsv").open("a") as file:
        file.write("What is a?\tWhere is e?\t0\n")
    assert "2 of 3 evaluated rows share a text with a training row." in check("--task", "qqp", "--data", str(tmp_path))


def test_a_missing_split_is_told_and_both_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"question1": "a", "question2": "b", "label": 0}\n')
    assert "train: " in check("--task", "qqp", "--data", str(tmp_path))
    with pytest.raises(UsageError, match="there is no such file"):
        check("--task", "qqp", "--data", str(tmp_path / "nowhere"))


def test_every_row_that_cannot_be_read_is_listed_with_the_nearest_label(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": ("good", "bad")[n % 2]} for n in range(20)]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows[2]["label"], rows[4]["label"], rows[6]["text"] = "godo", "", " "
    for row in rows[10:14]:
        row["label"] = "fine"
    (tmp_path / "rows" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = 'prompt = "{{ text }}: good or bad?"\nreference = "label"\nlabels = ["good", "bad"]\ndata = "rows"\n'
    (tmp_path / "mine.toml").write_text(task)
    done = CliRunner().invoke(data, ["check", "--task", str(tmp_path / "mine.toml")], standalone_mode=False)
    assert done.return_value == 2
    assert "test: 7 rows cannot be read:" in done.output
    assert "test.jsonl:3: label 'godo' (did you mean 'good'?) is none of good, bad." in done.output
    assert "test.jsonl:5: label is empty." in done.output and "test.jsonl:7: text is empty." in done.output
    assert "and 2 more (--json lists them all)" in done.output
    found = json.loads(check("--task", str(tmp_path / "mine.toml"), "--json"))
    assert len(found["splits"]["test"]["problems"]) == 7
    assert found["splits"]["train"]["rows"] == 20


@needs_shared("persona")
def test_the_published_persona_data_is_told_as_it_is() -> None:
    said = check("--task", "persona-json", "--data", str(SHARED / "persona"))
    assert "2 of 153 training targets are invalid" in said
    assert "33 exactly (33 of 36 distinct ones)" in said
