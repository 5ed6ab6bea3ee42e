"""One backend's log, read: the one place that knows which files it consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
from harness.logs import parquet
from harness.logs.lines import read_lines
from harness.logs.marks import Marks, marks_of_lines
from harness.logs.segments import segment_files
from harness.records import Key, LogLine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

        last = np.full(self.rows * self.repeats, -1, dtype=np.int64)
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

    def incurred(self) -> float:
        """USD of every line ever written; unknown costs count nothing."""
        import numpy as np

        return sum((sum(np.nan_to_num(_marks(file).paid).tolist()) for file in self.files()), 0.0)

    def _keys(self, file: Path, marks: Marks) -> NDArray[np.int64]:
        """One number for each line's (n, repeat)."""
        inside = (marks.n >= 0) & (marks.n < self.rows) & (marks.repeat >= 0) & (marks.repeat < self.repeats)
        if not inside.all():
            at = int(inside.argmin())
            raise UsageError(
                f"{file}: line {at + 1} is about row {marks.n[at]}, repeat {marks.repeat[at]}; this run has "
                f"{self.rows} rows and {self.repeats} repeats: the log is damaged."
            )
        return marks.n * self.repeats + marks.repeat


def _lines(file: Path) -> Iterator[LogLine]:
    if file.suffix == ".parquet":
        parquet.require(file)
        return parquet.read(file)
    return read_lines(file, msgspec.json.Decoder(LogLine))


def _marks(file: Path) -> Marks:
    if file.suffix == ".parquet":
        parquet.require(file)
        return parquet.marks(file)
    return marks_of_lines(file)
