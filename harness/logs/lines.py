"""Lines of a log file: appended whole, each with one write; read back, a torn last one aside."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from harness.errors import UsageError
from harness.records import Completion, LogLine, Score

T = TypeVar("T")


class LogWriter:
    """Appends whole lines, each with one write; a torn tail left by a kill is cut off first.

    Raises UsageError where another process is writing the same log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO = path.open("ab+", buffering=0)
        lock(self._file, path)
        cut_torn_tail(self._file)

    def append(self, n: int, completion: Completion, score: Score | None) -> LogLine:
        """Write one line; on return it has left this process (a later kill cannot lose it)."""
        line = LogLine.of(n, completion, score)
        try:
            data = self._encoder.encode(line) + b"\n"
        except UnicodeEncodeError:  # half a surrogate pair in an answer: UTF-8 has no such thing
            line = msgspec.structs.replace(line, text=_whole_characters(line.text), score=_whole_score(score))
            data = self._encoder.encode(line) + b"\n"
        written = self._file.write(data)
        if written != len(data):  # a full disk: take the torn line back, the caller says so
            raise OSError(f"{self.path}: only {written} of {len(data)} bytes could be written")
        return line

    def close(self) -> None:
        """Close the file and let the next writer in."""
        self._file.close()

    def __enter__(self) -> "LogWriter":
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
        raise UsageError(f"{place}: not a line of this Bench ({error}).") from None


def lock(file: BinaryIO, path: Path) -> None:
    """Hold a file until it is closed. Raises UsageError where another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks; one writer is then the person's own care
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(f"{path} is being written by another bench process: wait for it, or end it.") from None


def _whole_characters(text: str) -> str:
    """Join surrogate pairs; a lone half becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole_score(score: Score | None) -> Score | None:
    if score is None:
        return None
    answers = [None if a is None else _whole_characters(a) for a in (score.answer, score.lenient.answer)]
    lenient = msgspec.structs.replace(score.lenient, answer=answers[1])
    return msgspec.structs.replace(score, answer=answers[0], lenient=lenient)


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
