"""Fetching a run: what is there and what was written here are both kept. A folder stands for the bucket."""

from pathlib import Path

import pytest

from harness.errors import UsageError
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


def test_an_overview_holds_neither_rows_nor_answers(tmp_path: Path, there: Path) -> None:
    (there / "manifest.json").unlink()
    for run, gated in (("a", True), ("b", False)):
        (there / run / "state").mkdir(parents=True)
        for name in ("manifest.json", "summary.json", "samples.jsonl", "m.jsonl", "state/m.json"):
            (there / run / name).write_text(run + name)
        if gated:
            (there / run / "gate.json").write_text("passed")
    found = object_storage.fetch_overviews(URL, tmp_path)
    assert list(found) == [f"{URL}/a", f"{URL}/b"]
    names = {url: sorted(path.name for path in folder.iterdir()) for url, folder in found.items()}
    assert names == {
        f"{URL}/a": ["gate.json", "manifest.json", "summary.json"],
        f"{URL}/b": ["manifest.json", "summary.json"],
    }
    (there / "a" / "gate.json").unlink()
    (there / "b" / "summary.json").write_text("another")
    object_storage.fetch_overviews(URL, tmp_path)
    assert not (found[f"{URL}/a"] / "gate.json").exists()
    assert (found[f"{URL}/b"] / "summary.json").read_text() == "another"


def test_an_overview_of_a_single_run_is_that_run(tmp_path: Path, there: Path) -> None:
    ((url, folder),) = object_storage.fetch_overviews(URL, tmp_path).items()
    assert url == URL and (folder / "manifest.json").read_text() == "{}"


def test_no_run_below_an_address_is_a_sentence(tmp_path: Path, there: Path) -> None:
    (there / "manifest.json").unlink()
    with pytest.raises(UsageError, match=r"s3://runs/r holds no run"):
        object_storage.fetch_overviews(URL, tmp_path)
