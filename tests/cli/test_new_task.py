"""`bench new-task` writes a task that is found, passes its own test and runs."""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import runner
from harness.cli.new_task import new_task
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.settings import Settings
from harness.task_from_rows import doubtful_labels
from harness.task_loading import load_rows, load_task
from harness.workspace import Workspace


@pytest.mark.parametrize("kind", ["python", "toml"])
def test_a_new_task_passes_its_own_test_and_runs(tmp_path: Path, kind: str) -> None:
    made = CliRunner().invoke(new_task, ["my-tickets", "--kind", kind, "--out", str(tmp_path), "--json"])
    assert made.exit_code == 0, made.output
    said = json.loads(made.output)
    test = next(path for path in said["files"] if Path(path).name.startswith("test_my"))
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert "3 passed" in tested.stdout

    recorded = tmp_path / "recorded.jsonl"
    rows = load_rows(load_task(said["task"]), DataSource())
    recorded.write_text("".join(json.dumps({"id": row.id, "text": row.reference}) + "\n" for row in rows))
    settings = Settings(backends={"taped": {"kind": "replay", "path": str(recorded)}})
    log = runner.run(said["task"], ["taped"], settings=settings, workspace=Workspace(tmp_path), out=tmp_path / "run")
    summary = log.summary()
    assert summary is not None
    assert summary.backends["taped"].metrics["accuracy"].value == 1.0


def test_a_new_task_overwrites_nothing_and_refuses_names_that_name_no_file(tmp_path: Path) -> None:
    arguments = ["tickets", "--out", str(tmp_path)]
    assert CliRunner().invoke(new_task, arguments).exit_code == 0
    again = CliRunner().invoke(new_task, arguments)
    assert isinstance(again.exception, UsageError)
    assert "tickets.py already exists" in str(again.exception)
    odd = CliRunner().invoke(new_task, ["../Tickets", "--out", str(tmp_path)])
    assert "cannot name a task" in str(odd.exception)


def filed(tmp_path: Path) -> Path:
    """60 rows of three queues; two lack the answer, one the text, two spell a queue in another way."""
    rows = [(f"message number {n} about {q}", q) for n in range(20) for q in ("refund", "delivery", "login")]
    rows[7], rows[8], rows[9] = (rows[7][0], ""), (rows[8][0], "  "), ("", rows[9][1])
    rows[0], rows[1] = (rows[0][0], "Refund"), (rows[1][0], "delivrey")
    file = tmp_path / "tickets.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("message", "queue"), *rows])
    return file


def test_rows_without_answer_or_text_are_left_out_and_odd_labels_are_named(tmp_path: Path) -> None:
    made = CliRunner().invoke(new_task, ["tickets", "--from", str(filed(tmp_path)), "--out", str(tmp_path)])
    assert made.exit_code == 0, made.output
    assert "left out: 3 rows without a value in 'queue' or in 'message'." in made.output
    assert "'Refund' (1 row) is like 'refund' (18); 'delivrey' (1 row) is like 'delivery' (" in made.output
    task = load_task(str(tmp_path / "tickets.toml"))
    assert len(load_rows(task, DataSource(split="train"))) + len(load_rows(task, DataSource())) == 57


def test_clear_labels_raise_no_doubt() -> None:
    assert doubtful_labels(Counter({"1 star": 40, "2 stars": 35, "refund": 9, "praise": 1}), "stars") == []
    assert doubtful_labels(Counter(), "stars") == []


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    rows = [{"text": f"one\u2028two\x85three {n}", "label": "ab"[n % 2]} for n in range(20)]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    made = CliRunner().invoke(new_task, ["mine", "--from", str(file), "--out", str(tmp_path)])
    assert made.exit_code == 0, made.output
    assert "left out" not in made.output
    assert len(load_rows(load_task(str(tmp_path / "mine.toml")), DataSource(split="train"))) == 16


def test_the_next_commands_can_be_typed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.cli.new_task.find_spec", lambda name: None)
    made = CliRunner().invoke(new_task, ["first", "--kind", "toml"])
    assert "pytest" not in made.output, "it is not installed"
    assert "next: bench data check --task ./first.toml\n" in made.output
    assert "then: bench run --task ./first.toml --backends gpt4\n" in made.output
    Path("bench.toml").write_text('[backends.small]\nkind = "replay"\n[backends.big]\nkind = "replay"\n')
    made = CliRunner().invoke(new_task, ["second", "--kind", "toml"])
    assert "then: bench run --task ./second.toml --backends small,big\n" in made.output


def test_a_task_file_beside_its_user_is_named_where_a_task_is_not_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(new_task, ["tickets", "--kind", "toml"]).exit_code == 0
    with pytest.raises(UsageError, match=r"no task 'tickets' is registered; the file beside you is --task \./tickets"):
        load_task("tickets")
    with pytest.raises(UsageError, match="no task 'tikets' "):
        load_task("tikets")
