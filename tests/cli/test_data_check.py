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


@needs_shared("persona")
def test_the_published_persona_data_is_told_as_it_is() -> None:
    said = check("--task", "persona-json", "--data", str(SHARED / "persona"))
    assert "2 of 153 training targets are invalid" in said
    assert "33 exactly (33 of 36 distinct ones)" in said
