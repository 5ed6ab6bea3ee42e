"""Object storage by URL (`s3://`, `gs://`, `az://`), through fsspec: writing, reading and fetching runs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import StorageError, UsageError
from harness.files import lock
from harness.hashing import digest
from harness.runs.log_lines import cut_torn_tail

SCHEMES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""URL schemes and the packages that speak them."""


def is_url(word: str) -> bool:
    """Whether a word names a place in object storage."""
    return word.partition("://")[0] in SCHEMES and "://" in word


@dataclass(frozen=True)
class ObjectStore:
    """A folder of object storage. All methods raise StorageError."""

    url: str
    _fs: Any
    _root: str

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """The folder a URL names. Nothing is sent yet, no object need be there."""
        scheme, _, place = url.rstrip("/").partition("://")
        if not place.strip("/"):
            raise StorageError(f"{url} names no bucket: say {scheme}://BUCKET/FOLDER.")
        try:
            import fsspec

            fs = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)
        except ImportError:
            raise StorageError(
                f"{url}: {scheme}:// needs the package {SCHEMES[scheme]}: python -m pip install {SCHEMES[scheme]}."
            ) from None
        except Exception as error:  # wrong settings of a profile, ..: each client has its own kinds
            raise StorageError(f"{url} cannot be reached ({reason(error)}).") from None
        return cls(url.rstrip("/"), fs, place)

    def files(self) -> dict[str, int]:
        """Names of all objects below the folder, with their sizes."""
        with self._told("cannot be listed"):
            try:
                found = self._fs.find(self._root, detail=True)
            except FileNotFoundError:
                self._fs.ls(self._root.partition("/")[0])  # an empty folder is no error, a missing bucket is
                return {}
        return {name.removeprefix(f"{self._root}/"): int(info["size"] or 0) for name, info in found.items()}

    def has(self, name: str) -> bool:
        """Whether an object is there."""
        with self._told("cannot be looked at"):
            return bool(self._fs.exists(f"{self._root}/{name}"))

    def put(self, file: Path, name: str) -> None:
        """Copy a local file there."""
        with self._told("cannot be written"):
            self._fs.put_file(str(file), f"{self._root}/{name}")

    def get(self, name: str, file: Path) -> None:
        """Copy an object here, whole or not at all."""
        aside = file.with_name(f".{file.name}.aside")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._told("cannot be read"):
                self._fs.get_file(f"{self._root}/{name}", str(aside))
            aside.replace(file)
        finally:
            aside.unlink(missing_ok=True)

    def get_many(self, names: Mapping[str, Path]) -> None:
        """Copy many objects here at once, each whole or not at all. names: object -> file."""
        aside = {name: file.with_name(f".{file.name}.aside") for name, file in names.items()}
        for folder in {file.parent for file in names.values()}:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with self._told("cannot be read"):
                self._fs.get([f"{self._root}/{name}" for name in aside], [str(file) for file in aside.values()])
            for name, file in names.items():
                aside[name].replace(file)
        finally:
            for file in aside.values():
                file.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._told("cannot be written"):
            self._fs.rm_file(f"{self._root}/{name}")

    def try_to_write(self) -> None:
        """Write and remove a small object: what may not be written must be known before anything is paid for."""
        name = f"{self._root}/.bench-may-write"
        with self._told("cannot be written"):
            self._fs.pipe_file(name, b"1")
            self._fs.rm_file(name)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # fsspec's clients raise dozens of unrelated types
            raise StorageError(f"{self.url} {what} ({reason(error)}).") from None


def reason(error: BaseException) -> str:
    """What a client's error says, in a line: it names the bucket or the key's id, never a secret."""
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket or object: {_first_line(error)}"
    if isinstance(error, PermissionError):
        return f"access is denied: {_first_line(error)}"
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


URL_FILE = "state/remote.json"
"""In a run directory: where its copy in object storage is."""


def local_folder(root: Path, url: str) -> Path:
    """Where a workspace keeps its copy of a run in object storage."""
    return root / "remote" / f"{url.rstrip('/').rsplit('/', 1)[-1]}-{digest(url.rstrip('/'))[:8]}"


def remote_url(folder: Path) -> str | None:
    """Where the copy of a run is; None where it has none. Raises UsageError for a file that is not readable."""
    try:
        return str(msgspec.json.decode((folder / URL_FILE).read_bytes(), type=dict[str, str | int])["url"])
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, KeyError) as error:
        raise UsageError(
            f"{folder / URL_FILE} is not readable ({error}): remove it, and the run has no copy."
        ) from None


def fetch_run(url: str, root: Path) -> Path:
    """The run at a URL, here in the workspace; only what has changed there is copied.

    A file of lines that was written on here and not copied keeps them, behind those that are there. Raises
    UsageError where there is no run, or the storage cannot be read.
    """
    bucket = ObjectStore.open(url)
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


def _join(bucket: ObjectStore, name: str, ours: Path) -> None:
    """Lines of both: those that are there, then what was written here behind their common beginning. Another machine
    may have gone on from a copy that lacked our last lines; both were paid for."""
    with ours.open("rb") as here:
        try:
            lock(here, f"{ours} is being written by another bench process")
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


OVERVIEW_FILES = ("manifest.json", "summary.json", "gate.json")
"""What a table of many runs needs of each: no rows and no answers."""


def fetch_overviews(url: str, root: Path) -> dict[str, Path]:
    """The run at a URL, or all runs below it: URL -> a local folder with what OVERVIEW_FILES names, and nothing else.

    The objects of all runs are copied at once. Raises UsageError where there is no run.
    """
    bucket = ObjectStore.open(url)
    there = bucket.files()
    names = sorted(name for name in there if name.rpartition("/")[2] == "manifest.json" and name.count("/") <= 1)
    if not names:
        raise UsageError(f"{url} holds no run: no manifest.json there, nor in a folder below.")
    found: dict[str, Path] = {}
    wanted: dict[str, Path] = {}
    for name in names:
        below = name.removesuffix("manifest.json")
        run = f"{url.rstrip('/')}/{below}".rstrip("/")
        folder = found[run] = root / "overviews" / local_folder(root, run).name
        for file in OVERVIEW_FILES:
            if below + file in there:
                wanted[below + file] = folder / file
            else:
                (folder / file).unlink(missing_ok=True)  # it was there when the run was last looked at
    bucket.get_many(wanted)
    return found
