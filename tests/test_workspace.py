"""A run is meant by its path, its id, the end of its id, or `last`; what is meant is never guessed."""

import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.workspace import Workspace

NAMES = ("agnews-20260101-120000-aaaa", "agnews-20260102-120000-bbbb", "qqp-20260102-130000-aaaa")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Three runs; the second one was begun last."""
    for age, name in zip((3, 1, 2), NAMES, strict=True):
        manifest = tmp_path / "runs" / name / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")
        os.utime(manifest, (1_000_000 - age, 1_000_000 - age))
    return Workspace(tmp_path)


@pytest.mark.parametrize(("word", "which"), [("last", 1), ("bbbb", 1), (NAMES[0], 0), ("120000-aaaa", 0)])
def test_a_run_is_found(workspace: Workspace, word: str, which: int) -> None:
    assert workspace.find_run(word) == workspace.runs / NAMES[which]
    assert workspace.find_run(str(workspace.runs / NAMES[which])) == workspace.runs / NAMES[which]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("aaaa", "'aaaa' names 2 runs: qqp-20260102-130000-aaaa, agnews-20260101-120000-aaaa"),
        ("a", "no run 'a' in .*; the newest is agnews-20260102-120000-bbbb"),
        ("cccc", "no run 'cccc'"),
    ],
)
def test_what_is_meant_is_not_guessed(workspace: Workspace, word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        workspace.find_run(word)


def test_a_folder_that_is_no_run_and_a_workspace_without_any_are_told(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a run directory: it holds no manifest\.json"):
        workspace.find_run(str(tmp_path))
    with pytest.raises(UsageError, match=r"there are no runs in .*; start one with `bench run`"):
        Workspace(tmp_path / "empty").find_run("last")
