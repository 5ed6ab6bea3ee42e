"""Which adapter is current is kept in one file for all tasks and bases of a workspace."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from harness.adapter_manifest import AdapterManifest, mark_current, unmark
from harness.workspace import Workspace


def manifest(task: str, base: str) -> AdapterManifest:
    return AdapterManifest(id=f"{task}-on-{base}", task=task, task_version="1", base=base)


def marks(workspace: Workspace) -> dict[str, dict[str, str]]:
    return msgspec.json.decode((workspace.adapters / "current.json").read_bytes(), type=dict[str, dict[str, str]])


def test_trainings_that_end_in_the_same_instant_are_all_marked(tmp_path: Path) -> None:
    workspace, together = Workspace(tmp_path), threading.Barrier(8)

    def end(task: str) -> None:
        together.wait()
        for n in range(10):
            mark_current(workspace, manifest(task, f"base-{n}"))

    tasks = [f"task-{n}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(end, tasks))
    assert marks(workspace) == {t: {f"base-{n}": f"{t}-on-base-{n}" for n in range(10)} for t in tasks}


def test_taking_one_away_keeps_the_marks_of_the_others(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for base in ("a", "b"):
        mark_current(workspace, manifest("news", base))
    unmark(workspace, "news-on-a")
    unmark(workspace, "never-marked")
    assert marks(workspace) == {"news": {"b": "news-on-b"}}


def test_where_nothing_is_marked_nothing_is_written(tmp_path: Path) -> None:
    unmark(Workspace(tmp_path / "none"), "some-adapter")
    assert not (tmp_path / "none").exists()
