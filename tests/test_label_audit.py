"""Teachers of task files: unlabelled rows answered, a committee that must agree, labels disputed and corrected."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.rows import DataSource
from harness.errors import DataError, UsageError
from harness.label_audit import apply_decisions, audit_labels
from harness.records import Sample
from harness.settings import Settings
from harness.synthetic_data import SyntheticDataOptions, SyntheticDataRun
from harness.task_file import FileTask
from harness.task_loading import load_rows, task_problems
from harness.workspace import Workspace

LABELS = 'prompt = "Topic? {{ text }}"\nreference = "topic"\nlabels = ["bill", "tech"]\n'
FIELDS = 'prompt = "Read {{ text }}"\nreference = "record"\n[fields]\nshop = "casefold"\ntotal = "number"\n'


def task_of(folder: Path, toml: str) -> FileTask:
    (folder / "t.toml").write_text(toml)
    return FileTask(folder / "t.toml")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def teachers(folder: Path, said: dict[str, dict[str, str]]) -> Settings:
    """Recorded teachers: name -> text of the row -> answer, the same however often it is asked."""
    for name, answers in said.items():
        lines = [{"id": Sample.of({"text": t}, "", "x").id, "text": a} for t, a in answers.items() for _ in range(3)]
        write(folder / f"{name}.jsonl", lines)
    return Settings(backends={n: {"kind": "replay", "path": str(folder / f"{n}.jsonl")} for n in said})


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    text = "".join((folder / f"{split}.jsonl").read_text() for split in ("train", "test"))
    return {row["text"]: row for row in map(json.loads, text.splitlines())}


TEXTS = ["the invoice is wrong", "my screen stays dark", "refund please", "password forgotten"]


def test_unlabelled_rows_are_answered_in_the_tasks_own_form(tmp_path: Path) -> None:
    new = write(tmp_path / "new.jsonl", [{"text": text} for text in TEXTS])
    answers = {TEXTS[0]: "Bill", TEXTS[1]: "tech", TEXTS[2]: "I would say bill", TEXTS[3]: "tech"}
    order = SyntheticDataOptions(teacher="a", data=str(new))
    task = task_of(tmp_path, LABELS)
    made = SyntheticDataRun(
        task, order, tmp_path / "out", teachers(tmp_path, {"a": answers}), Workspace(tmp_path)
    ).run()
    found = rows_of(tmp_path / "out")
    assert {text: row["topic"] for text, row in found.items()} == {TEXTS[0]: "bill", TEXTS[1]: "tech", TEXTS[3]: "tech"}
    assert made.invalid == {"extra text": 3} and made.dropped == {"no valid answer in 3 rounds": 1}
    assert "agreement" not in found[TEXTS[0]]


def test_answers_of_a_record_become_objects(tmp_path: Path) -> None:
    new = write(tmp_path / "new.jsonl", [{"text": "North, 3.50"}])
    answer = {"North, 3.50": '{"shop": "North", "total": 3.5}'}
    order = SyntheticDataOptions(teacher="a", data=str(new))
    task = task_of(tmp_path, FIELDS)
    SyntheticDataRun(task, order, tmp_path / "out", teachers(tmp_path, {"a": answer}), Workspace(tmp_path)).run()
    assert rows_of(tmp_path / "out")["North, 3.50"]["record"] == {"shop": "North", "total": 3.5}


def test_rows_that_have_a_label_are_taught_only_where_the_teacher_finds_it(tmp_path: Path) -> None:
    new = write(tmp_path / "new.jsonl", [{"text": TEXTS[0], "topic": "bill"}, {"text": TEXTS[1], "topic": "bill"}])
    order = SyntheticDataOptions(teacher="a", data=str(new))
    settings = teachers(tmp_path, {"a": {TEXTS[0]: "bill", TEXTS[1]: "tech"}})
    made = SyntheticDataRun(task_of(tmp_path, LABELS), order, tmp_path / "out", settings, Workspace(tmp_path)).run()
    assert list(rows_of(tmp_path / "out")) == [TEXTS[0]] and made.invalid == {"misses the right answer": 3}


COMMITTEE = {
    "a": dict(zip(TEXTS, ["bill", "tech", "bill", "tech"], strict=True)),
    "b": dict(zip(TEXTS, ["BILL", "bill", "tech", "no idea"], strict=True)),
    "c": dict(zip(TEXTS, ["bill", "tech", "no idea", "no idea"], strict=True)),
}


@pytest.mark.parametrize(
    ("agree", "kept"),
    [
        (None, {TEXTS[0]: 1.0, TEXTS[1]: 2 / 3}),
        (3, {TEXTS[0]: 1.0}),
        (1, {TEXTS[0]: 1.0, TEXTS[1]: 2 / 3, TEXTS[3]: 1 / 3}),
    ],
)
def test_a_committee_must_agree(agree: int | None, kept: dict[str, float], tmp_path: Path) -> None:
    new = write(tmp_path / "new.jsonl", [{"text": text} for text in TEXTS])
    order = SyntheticDataOptions(teacher="a,b,c", data=str(new), agree=agree)
    settings = teachers(tmp_path, COMMITTEE)
    made = SyntheticDataRun(task_of(tmp_path, LABELS), order, tmp_path / "out", settings, Workspace(tmp_path)).run()
    assert {t: row["agreement"] for t, row in rows_of(tmp_path / "out").items()} == pytest.approx(kept)
    assert made.agreement == {"3 of 3": 1, "2 of 3": 1, "1 of 3": 2}
    assert set(made.teachers) == {"a", "b", "c"}


def test_more_must_agree_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--agree 3: there are 2 teachers"):
        SyntheticDataRun(
            task_of(tmp_path, LABELS), SyntheticDataOptions(teacher="a,b", agree=3), tmp_path, Settings(backends={})
        )


def labelled(folder: Path) -> Path:
    write(folder / "rows" / "train.jsonl", [{"text": t, "topic": "bill", "by": n} for n, t in enumerate(TEXTS[:2])])
    write(folder / "rows" / "test.jsonl", [{"text": t, "topic": "tech", "by": n} for n, t in enumerate(TEXTS[2:])])
    return folder / "rows"


def decide(path: Path, decisions: dict[str, str]) -> None:
    with path.open(newline="") as file:
        listed = list(csv.DictReader(file))
    for row in listed:
        row["decision"] = decisions.get(row["input text"], "")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)


def test_disputed_labels_are_listed_and_decisions_taken_back(tmp_path: Path) -> None:
    rows, task, listed = labelled(tmp_path), task_of(tmp_path, LABELS), tmp_path / "disputed.csv"
    settings = teachers(tmp_path, COMMITTEE)
    report = audit_labels(task, "a,b,c", listed, settings, data=str(rows), workspace=Workspace(tmp_path))
    assert report.rows == {"train": 2, "test": 2}
    assert report.disputed == {"train": 1, "test": 1} and report.unanswered == 0
    with listed.open(newline="") as file:
        found = {row["input text"]: (row["label"], row["teacher"], row["agreement"]) for row in csv.DictReader(file)}
    assert found == {TEXTS[1]: ("bill", "tech", "2 of 3"), TEXTS[2]: ("tech", "bill", "1 of 3")}
    decide(listed, {TEXTS[1]: "teacher", TEXTS[2]: "drop"})
    changed = apply_decisions(task, listed, tmp_path / "fixed", str(rows))
    assert (changed.changed, changed.dropped, changed.kept, changed.rows) == (1, 1, 0, {"train": 2, "test": 1})
    fixed = rows_of(tmp_path / "fixed")
    assert fixed[TEXTS[1]] == {"text": TEXTS[1], "topic": "tech", "by": 1}
    assert task_problems(task, str(tmp_path / "fixed")) == []
    assert len(load_rows(task, DataSource(location=str(tmp_path / "fixed"), split="train"))) == 2


def test_decisions_that_cannot_be_taken_back_are_refused(tmp_path: Path) -> None:
    rows, task, listed = labelled(tmp_path), task_of(tmp_path, LABELS), tmp_path / "disputed.csv"
    settings = teachers(tmp_path, COMMITTEE)
    audit_labels(task, "a", listed, settings, data=str(rows), workspace=Workspace(tmp_path))
    with pytest.raises(UsageError, match="already exists: take its decisions back with --apply"):
        audit_labels(task, "a", listed, settings, data=str(rows), workspace=Workspace(tmp_path))
    decide(listed, {TEXTS[1]: "ship"})
    with pytest.raises(DataError, match="the decision 'ship' is none of bill, tech"):
        apply_decisions(task, listed, tmp_path / "fixed", str(rows))
    decide(listed, {})
    write(rows / "train.jsonl", [{"text": "another", "topic": "bill"}])
    with pytest.raises(DataError, match=r"the data hold no row .* in the split 'train'"):
        apply_decisions(task, listed, tmp_path / "other", str(rows))
