"""`bench new-task` writes a task that is found, passes its own test and runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import runner
from harness.cli.new_task import new_task
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.settings import Settings
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
