"""A long log in pieces: `<backend>/00000.jsonl`, `00001.jsonl`, .. while a run is under way, Parquet when it has ended.

Only the last piece is ever appended to, so only there can a kill leave a torn line. A piece that stands there in both
forms was being compacted: the Parquet file is whole (it was renamed into place), the lines are about to go.
"""

import re
from pathlib import Path

from harness.files import lock
from harness.logs import parquet
from harness.logs.lines import LogWriter
from harness.records import Completion, LogLine, Score

SEGMENT_LINES = 100_000
"""Lines of a segment. A run that asks for no more than this keeps one file beside its manifest."""

_NAME = re.compile(r"(\d{5,})\.(jsonl|parquet)")


def segment_files(folder: Path) -> list[Path]:
    """The pieces in the order of writing, each in one of its forms."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _NAME.fullmatch(path.name)
        if match:
            found[int(match[1])] = path  # .parquet sorts behind .jsonl
    return [found[number] for number in sorted(found)]


class SegmentWriter:
    """Appends lines as LogWriter does, and begins a new file when one is full.

    Raises UsageError where another process is writing the same log.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._held = (folder / ".lock").open("ab")
        lock(self._held, folder)
        files = segment_files(folder)
        last = files[-1] if files else None
        number = int(last.stem) if last is not None else 0
        self._writer = LogWriter(self._path(number if last is None or last.suffix == ".jsonl" else number + 1))
        with self._writer.path.open("rb") as file:
            self._count = sum(1 for _ in file)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05}.jsonl"

    def append(self, n: int, completion: Completion, score: Score | None) -> LogLine:
        """Write one line; on return it has left this process (a later kill cannot lose it)."""
        if self._count >= SEGMENT_LINES:
            self._writer.close()
            self._writer = LogWriter(self._path(int(self._writer.path.stem) + 1))
            self._count = 0
        line = self._writer.append(n, completion, score)
        self._count += 1
        return line

    def close(self) -> None:
        """Close the file and let the next writer in."""
        self._writer.close()
        self._held.close()

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compact(folder: Path) -> None:
    """Turn every piece into Parquet; without pyarrow, leave them as they are. A kill at any moment leaves each piece
    whole in one form at least. Raises OSError where the disk refuses it, UsageError where the log is being written."""
    if not parquet.available():
        return
    with (folder / ".lock").open("ab") as held:
        lock(held, folder)
        for path in sorted(folder.glob("*.jsonl")):
            if _NAME.fullmatch(path.name) is None:
                continue
            whole = path.with_suffix(".parquet")
            if not whole.exists():
                parquet.write(path, whole)
            path.unlink()
