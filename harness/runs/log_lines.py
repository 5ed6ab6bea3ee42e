"""Lines of a log file, appended atomically, and an index of them in little memory."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeVar

import msgspec

from harness.errors import DataError
from harness.files import lock
from harness.records import Completion, Cost, LogLine, Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


T = TypeVar("T")


class LogWriter:
    """Appends whole lines, each with one write; a torn tail left by a kill is cut off first.

    Raises UsageError where another process is writing the same log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO = path.open("ab+", buffering=0)
        lock(self._file, f"{path} is being written by another bench process")
        cut_torn_tail(self._file)

    def append(self, n: int, completion: Completion, score: Score | None) -> LogLine:
        """Write one line; on return it has left this process (a later kill cannot lose it). Values that are no finite
        number are left out, as JSON has none: an undefined value costs its row, not the log."""
        line = _finite(LogLine.of(n, completion, score))
        try:
            data = self._encoder.encode(line) + b"\n"
        except UnicodeEncodeError:  # half a surrogate pair in what a server said: UTF-8 has no such thing
            line = msgspec.convert(_whole(msgspec.to_builtins(line)), LogLine)
            data = self._encoder.encode(line) + b"\n"
        written = self._file.write(data)
        if written != len(data):  # a full disk: the caller says so, and the next writer cuts the torn line off
            raise OSError(f"{self.path}: only {written} of {len(data)} bytes could be written")
        return line

    def close(self) -> None:
        """Close the file and let the next writer in."""
        self._file.close()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_lines(path: Path, decoder: msgspec.json.Decoder[T]) -> Iterator[T]:
    """The lines of a file in the order of writing. A torn last line is not a line. Raises UsageError (file, line)."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if raw.endswith(b"\n"):
                yield decode_line(decoder, raw, f"{path}:{number}")


def decode_line(decoder: msgspec.json.Decoder[T], line: bytes, place: str) -> T:
    """One line. Raises UsageError naming its place."""
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{place}: not a line of this Bench ({error}).") from None


def _finite(line: LogLine) -> LogLine:
    """The line without values of rows, confidences or scores of labels that are no finite number."""
    score, labels, tokens = line.score, line.label_scores, line.token_logprobs
    if tokens is not None and not (math.isfinite(tokens.mean) and math.isfinite(tokens.least)):
        line = msgspec.structs.replace(line, token_logprobs=None)
    if score is not None and score.confidence is not None and not math.isfinite(score.confidence):
        score = msgspec.structs.replace(score, confidence=None)
        line = msgspec.structs.replace(line, score=score)
    if labels is not None and not all(map(math.isfinite, labels.values())):
        line = msgspec.structs.replace(line, label_scores={k: v for k, v in labels.items() if math.isfinite(v)})
    if score is not None and not all(map(math.isfinite, score.values.values())):
        values = {k: v for k, v in score.values.items() if math.isfinite(v)}
        line = msgspec.structs.replace(line, score=msgspec.structs.replace(score, values=values))
    return line


def _whole(value: Any) -> Any:
    """The texts in it with surrogate pairs joined; a lone half becomes U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return value


def cut_torn_tail(file: BinaryIO) -> None:
    """Truncate to the last line end: what a kill in the middle of a write has left behind it is no line."""
    end = file.seek(0, os.SEEK_END)
    position = end
    while position > 0:
        start = max(0, position - 65536)
        file.seek(start)
        newline = file.read(position - start).rfind(b"\n")
        if newline >= 0:
            position = start + newline + 1
            break
        position = start
    if position != end:
        file.truncate(position)


@dataclass(frozen=True)
class Marks:
    """The lines of one file in the order of writing: rows and repeats they answer, which of them ended in an
    infrastructure error, and USD paid (nan: unknown)."""

    n: NDArray[np.int64]
    repeat: NDArray[np.int64]
    failed: NDArray[np.bool_]
    paid: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.n)


class _Something(msgspec.Struct):
    """Whatever it holds."""


_Position = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


class _Mark(msgspec.Struct):
    """The fields of a line that are looked at."""

    n: _Position
    repeat: _Position = 0
    error: _Something | None = None
    cost: Cost = Cost()


def marks_of_lines(path: Path) -> Marks:
    """Of a file of JSON lines. Raises UsageError (file, line)."""
    import numpy as np

    n, repeat, failed, paid = array("q"), array("q"), array("b"), array("d")
    for mark in read_lines(path, msgspec.json.Decoder(_Mark)):
        n.append(mark.n)
        repeat.append(mark.repeat)
        failed.append(mark.error is not None)
        paid.append(float("nan") if mark.cost.incurred is None else mark.cost.incurred)
    return Marks(
        n=np.frombuffer(n, dtype=np.int64),
        repeat=np.frombuffer(repeat, dtype=np.int64),
        failed=np.frombuffer(failed, dtype=np.bool_),
        paid=np.frombuffer(paid, dtype=np.float64),
    )
