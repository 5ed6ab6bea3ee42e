"""A run directory and its copy in object storage: the local one is written, the other follows.

What is there is never ahead of what is here: rows, then answers, then the manifest that makes it a run.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import IncompleteRunError, StorageError, UsageError
from harness.files import write_json
from harness.runs.backend_log import segment_files
from harness.runs.object_storage import URL_FILE, ObjectStore, remote_url

INTERVAL_S = 30.0
"""So often all that has changed is copied; answers younger than this are lost with the machine, and asked again."""

LOOK_S = 1.0
"""So often it is looked whether a segment has been closed: that is copied at once."""


class Mirror:
    """Keeps the copy of one run up to date. One machine at a time may write a run."""

    def __init__(self, folder: Path, bucket: ObjectStore) -> None:
        self.folder, self.bucket = folder, bucket
        self._sent: dict[str, tuple[int, int]] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def begin(cls, url: str, folder: Path) -> "Mirror":
        """For a new run. Raises UsageError where the storage may not be written, or already holds a run there."""
        bucket = ObjectStore.open(url)
        if bucket.has("manifest.json"):
            raise UsageError(f"{url} already holds a run: continue it with --resume {url}, or name another --out.")
        bucket.try_to_write()
        return cls(folder, bucket)

    @classmethod
    def of_run(cls, folder: Path) -> "Mirror | None":
        """For a run that is gone on with; None where it has no copy. Raises UsageError where it may not be written."""
        url = remote_url(folder)
        if url is None:
            return None
        bucket = ObjectStore.open(url)
        bucket.try_to_write()
        return cls(folder, bucket)

    @contextmanager
    def during(self, remark: Callable[[str], None]) -> Iterator[None]:
        """Follow while the block runs, and copy the rest when it ends, however it ends."""
        self.follow(remark)
        try:
            yield
        except BaseException:
            try:
                self.end()
            except IncompleteRunError as error:
                remark(str(error))  # what stopped the run is said after it
            raise
        self.end()

    def follow(self, remark: Callable[[str], None]) -> None:
        """Copy what changes from now on, in a thread. What cannot be copied is said once, and tried again."""
        self._thread = threading.Thread(target=self._follow, args=(remark,), daemon=True, name="copying the run")
        self._thread.start()

    def _follow(self, remark: Callable[[str], None]) -> None:
        told, waited, segments = False, 0.0, 0
        while not self._over.wait(LOOK_S):
            waited += LOOK_S
            try:
                count = sum(len(segment_files(self.folder / name)) for name in self._backends())
                if waited < INTERVAL_S and count == segments:
                    continue
                waited, segments = 0.0, count
                self.push()
            except (StorageError, OSError) as error:
                if not told:
                    remark(f"{error} The run goes on in {self.folder}, and copying is tried again.")
                told = True

    def end(self) -> None:
        """Copy the rest. Raises IncompleteRunError where that fails: the run itself is whole."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.push()
        except StorageError as error:
            raise IncompleteRunError(
                f"{error} Nothing is lost: the run is in {self.folder}; "
                f"`bench run --resume {self.folder}` copies the rest."
            ) from None

    def push(self) -> None:
        """Copy every file that has changed since it was last copied. Nothing before the directory is a run."""
        if not (self.folder / "manifest.json").is_file():
            return
        url_file = self.folder / URL_FILE
        if not url_file.is_file():
            write_json(url_file, {"schema": 1, "url": self.bucket.url})
        for path in sorted(self._files(), key=_manifest_last):
            name = path.relative_to(self.folder).as_posix()
            try:
                at = path.stat()
            except FileNotFoundError:
                continue  # lines that became Parquet meanwhile
            if self._sent.get(name) != (at.st_size, at.st_mtime_ns):
                self.bucket.put(path, name)
                self._sent[name] = (at.st_size, at.st_mtime_ns)
        self._remove_compacted()

    def _backends(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.is_dir()] if self.folder.is_dir() else []

    def _files(self) -> list[Path]:
        hidden = (p for p in self.folder.rglob("*") if p.is_file())
        return [p for p in hidden if not any(part.startswith(".") for part in p.relative_to(self.folder).parts)]

    def _remove_compacted(self) -> None:
        """Lines whose Parquet file has been copied need not lie there any more."""
        gone = [name for name in self._sent if not (self.folder / name).exists()]
        for name in gone:
            if f"{name.removesuffix('.jsonl')}.parquet" in self._sent:
                self.bucket.remove(name)
                del self._sent[name]


def _manifest_last(path: Path) -> tuple[int, str]:
    order = {"samples.jsonl": 0, "manifest.json": 2}
    return order.get(path.name, 1), str(path)
