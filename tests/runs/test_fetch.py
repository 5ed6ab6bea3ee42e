"""Fetching a run: what is there and what was written here are both kept. A folder stands for the bucket."""

from pathlib import Path

import pytest

from harness.records import Completion
from harness.runs import object_storage
from harness.runs.log_lines import LogWriter
from harness.runs.object_storage import ObjectStore, local_folder

fsspec = pytest.importorskip("fsspec")

URL = "s3://runs/r"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the bucket, with a run in it."""
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    opened = ObjectStore(URL, fsspec.filesystem("file", skip_instance_cache=True), str(folder))
    monkeypatch.setattr(ObjectStore, "open", lambda url: opened)
    return folder


def fetched(tmp_path: Path, here: str, there: Path, copy: str) -> str:
    """The log after a fetch, from what was here and what was there."""
    folder = local_folder(tmp_path, URL)
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text(here)
    (there / "a.jsonl").write_text(copy)
    assert object_storage.fetch_run(URL, tmp_path) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["a.jsonl", "manifest.json"]
    return (folder / "a.jsonl").read_text()


@pytest.mark.parametrize(
    ("here", "copy", "both"),
    [
        ("1\n2\n3\n", "1\n2\n", "1\n2\n3\n"),  # our end had not been copied
        ("1\n", "1\n2\n", "1\n2\n"),  # another machine went on
        ("1\n2\n3\n4\n", "1\n9\n", "1\n9\n2\n3\n4\n"),  # both
        ("1\n2\n", "1\n8\n9\n", "1\n8\n9\n2\n"),
        ("1\n2\nto", "1\n9\n", "1\n9\n2\n"),  # a kill here in the middle of a line
        ("1\n2\n3\n", "1\n2", "1\n2\n3\n"),  # a copy taken in the middle of a line
    ],
)
def test_no_line_is_lost_whoever_wrote_it(tmp_path: Path, there: Path, here: str, copy: str, both: str) -> None:
    assert fetched(tmp_path, here, there, copy) == both


def test_a_log_that_is_being_written_here_is_left_alone(tmp_path: Path, there: Path) -> None:
    folder = local_folder(tmp_path, URL)
    folder.mkdir(parents=True)
    (there / "a.jsonl").write_text("1\n2\n3\n")
    with LogWriter(folder / "a.jsonl") as writer:
        object_storage.fetch_run(URL, tmp_path)
        writer.append(0, Completion(id="i", text="x", finish="stop"), None)
    assert (folder / "a.jsonl").read_text().count("\n") == 1
