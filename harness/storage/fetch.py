"""Fetching a run from object storage, to read it or to go on with it on this machine."""

from pathlib import Path

from harness.errors import UsageError
from harness.storage.bucket import Bucket
from harness.storage.place import local_folder


def fetch_run(url: str, root: Path) -> Path:
    """The run at a URL, here in the workspace; only what has changed there is copied.

    A log that is longer here than there was written here last (its end had not been copied): it stays. Raises
    UsageError where there is no run, or the storage cannot be read.
    """
    bucket = Bucket.open(url)
    folder = local_folder(root, url)
    there = bucket.files()
    if "manifest.json" not in there:
        if (folder / "manifest.json").is_file():
            return folder  # begun here, and not yet copied
        raise UsageError(f"{url} is not a run: it holds no manifest.json.")
    for name in sorted(there, key=lambda name: (name == "manifest.json", name)):
        file = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise UsageError(f"{url} holds an object of the name {name}: it was not written by Bench.")
        if not _have(file, there[name]):
            bucket.get(name, file)
    return folder


def _have(file: Path, size: int) -> bool:
    """Whether the local file need not be fetched: rows and answers are only ever added, all else is small."""
    if file.with_suffix(".parquet").is_file() and file.suffix == ".jsonl":
        return True
    if file.suffix not in (".jsonl", ".parquet") or not file.is_file():
        return False
    return file.stat().st_size >= size


def fetch_runs(url: str, root: Path) -> list[Path]:
    """The run at a URL, or all runs below it. Raises UsageError where there is none."""
    there = Bucket.open(url).files()
    names = sorted(name for name in there if name.rpartition("/")[2] == "manifest.json" and name.count("/") <= 1)
    if not names:
        raise UsageError(f"{url} holds no run: no manifest.json there, nor in a folder below.")
    return [fetch_run(f"{url.rstrip('/')}/{name}".removesuffix("/manifest.json"), root) for name in names]
