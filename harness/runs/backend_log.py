"""One backend's log: the files that it consists of, and its segments while a run is under way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import DataError
from harness.files import lock
from harness.records import Completion, Key, LogLine, Score
from harness.runs import log_parquet
from harness.runs.log_lines import LogWriter, Marks, marks_of_lines, read_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        lock(self._held, f"{folder} is being written by another bench process")
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

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compact(folder: Path) -> None:
    """Turn every piece into Parquet; without pyarrow, leave them as they are. A kill at any moment leaves each piece
    whole in one form at least. Raises OSError where the disk refuses it, UsageError where the log is being written."""
    if not log_parquet.available():
        return
    with (folder / ".lock").open("ab") as held:
        lock(held, f"{folder} is being written by another bench process")
        for path in sorted(folder.glob("*.jsonl")):
            if _NAME.fullmatch(path.name) is None:
                continue
            whole = path.with_suffix(".parquet")
            if not whole.exists():
                log_parquet.write(path, whole)
            path.unlink()


@dataclass(frozen=True)
class Log:
    """The lines about `rows` x `repeats` requests. The last line per (n, repeat) wins.

    path: the one file of a log of ordinary length; folder: where the segments of a long one lie (there may be
    both: the file is then the older). complete: adds to lines what was found out after they were written.
    """

    path: Path
    folder: Path
    rows: int
    repeats: int
    complete: Callable[[Iterable[LogLine]], Iterable[LogLine]] = lambda lines: lines

    def files(self) -> list[Path]:
        """The files there are, in the order of writing."""
        return [*([self.path] if self.path.is_file() else []), *segment_files(self.folder)]

    def lines(self) -> Iterator[LogLine]:
        """Every line ever written, superseded ones too, in the order of writing."""
        for file in self.files():
            yield from _lines(file)

    def last(self) -> dict[Key, LogLine]:
        """The last line of every (n, repeat), by position: all of them in memory, so for runs of ordinary size."""
        found = {Key(line.n, line.repeat): line for line in self.complete(self.lines())}
        return dict(sorted(found.items()))

    def each_last(self) -> Iterable[LogLine]:
        """The last line of every (n, repeat), file by file, in a file by position. One file's lines are in memory
        at a time. Raises UsageError for a line about no row of this run."""
        return self.complete(self._each_last())

    def _each_last(self) -> Iterator[LogLine]:
        import numpy as np

        last = np.full(self.rows * self.repeats, -1, dtype=np.int32)  # numbers of lines: 2 billion are enough
        count = 0
        files = self.files()
        for file in files:
            keys = self._keys(file, _marks(file))
            last[keys] = np.arange(count, count + len(keys))
            count += len(keys)
        number = 0
        for file in files:
            kept = []
            for line in _lines(file):
                if last[line.n * self.repeats + line.repeat] == number:
                    kept.append(line)
                number += 1
            kept.sort(key=lambda line: (line.n, line.repeat))
            yield from kept

    def answered(self) -> NDArray[np.bool_]:
        """(rows, repeats): what needs no further asking, because its last line is an answer."""
        import numpy as np

        found = np.zeros(self.rows * self.repeats, dtype=np.bool_)
        for file in self.files():
            marks = _marks(file)
            found[self._keys(file, marks)] = ~marks.failed  # of equal keys the last one stays
        return found.reshape(self.rows, self.repeats)

    def progress(self) -> tuple[int, int]:
        """(answered, failed): requests whose last line is an answer, and those where it is an infrastructure error."""
        import numpy as np

        found = np.zeros(self.rows * self.repeats, dtype=np.int8)
        for file in self.files():
            marks = _marks(file)
            found[self._keys(file, marks)] = np.where(marks.failed, 2, 1)
        return int((found == 1).sum()), int((found == 2).sum())

    def incurred(self) -> float:
        """USD of every line ever written; unknown costs count nothing."""
        import numpy as np

        return sum((sum(np.nan_to_num(_marks(file).paid).tolist()) for file in self.files()), 0.0)

    def _keys(self, file: Path, marks: Marks) -> NDArray[np.int64]:
        """One number for each line's (n, repeat)."""
        inside = (marks.n >= 0) & (marks.n < self.rows) & (marks.repeat >= 0) & (marks.repeat < self.repeats)
        if not inside.all():
            at = int(inside.argmin())
            raise DataError(
                f"{file}: line {at + 1} is about row {marks.n[at]}, repeat {marks.repeat[at]}; this run has "
                f"{self.rows} rows and {self.repeats} repeats: the log is damaged."
            )
        return marks.n * self.repeats + marks.repeat


def _lines(file: Path) -> Iterator[LogLine]:
    if file.suffix == ".parquet":
        log_parquet.require(file)
        return log_parquet.read(file)
    return read_lines(file, msgspec.json.Decoder(LogLine))


def _marks(file: Path) -> Marks:
    if file.suffix == ".parquet":
        log_parquet.require(file)
        return log_parquet.marks(file)
    return marks_of_lines(file)
