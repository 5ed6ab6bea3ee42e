"""Fetching a run from object storage, to read it or to go on with it on this machine."""

import os
from pathlib import Path

from harness.errors import UsageError
from harness.files import lock
from harness.logs.lines import cut_torn_tail
from harness.storage.bucket import Bucket
from harness.storage.place import local_folder


def fetch_run(url: str, root: Path) -> Path:
    """The run at a URL, here in the workspace; only what has changed there is copied.

    A file of lines that was written on here and not copied keeps them, behind those that are there. Raises
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
        if _have(file, there[name]):
            continue
        if file.suffix == ".jsonl" and file.is_file():
            _join(bucket, name, file)
        else:
            bucket.get(name, file)
    return folder


def _have(file: Path, size: int) -> bool:
    """Whether the local file need not be fetched: rows and answers are only ever added, all else is small."""
    if file.with_suffix(".parquet").is_file() and file.suffix == ".jsonl":
        return True
    if file.suffix not in (".jsonl", ".parquet") or not file.is_file():
        return False
    return file.stat().st_size == size


def _join(bucket: Bucket, name: str, ours: Path) -> None:
    """Lines of both: those that are there, then what was written here behind their common beginning. Another machine
    may have gone on from a copy that lacked our last lines; both were paid for."""
    with ours.open("rb") as here:
        try:
            lock(here, ours)
        except UsageError:
            return  # being written on this machine: the other copy follows
        theirs = ours.with_name(f".{ours.name}.there")
        bucket.get(name, theirs)
        with theirs.open("ab+") as there:
            cut_torn_tail(there)
            there.seek(0)
            common = 0
            for mine, other in zip(here, there, strict=False):
                if mine != other:
                    break
                common += len(mine)
            here.seek(common)
            there.seek(0, os.SEEK_END)
            there.writelines(line for line in here if line.endswith(b"\n"))
        theirs.replace(ours)


def fetch_runs(url: str, root: Path) -> list[Path]:
    """The run at a URL, or all runs below it. Raises UsageError where there is none."""
    there = Bucket.open(url).files()
    names = sorted(name for name in there if name.rpartition("/")[2] == "manifest.json" and name.count("/") <= 1)
    if not names:
        raise UsageError(f"{url} holds no run: no manifest.json there, nor in a folder below.")
    return [fetch_run(f"{url.rstrip('/')}/{name}".removesuffix("/manifest.json"), root) for name in names]
