"""Standard output and error as every verb may rely on them: they speak UTF-8, and a reader that leaves ends nothing."""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Patient(io.FileIO):
    """A file whose reader may go away (`bench list runs | head`): nobody misses what is written after that.

    Not left to the callers: click and rich end the process with code 1 then, in the middle of a run or in the place
    of a gate's own exit code.
    """

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                return memoryview(data).nbytes
            raise


def prepare_streams() -> None:
    """Put such streams in the place of `sys.stdout` and `sys.stderr`."""
    sys.stdout, sys.stderr = _prepared(sys.stdout), _prepared(sys.stderr)


def _prepared(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed by who started us: `bench run >&-`
        return Path(os.devnull).open("w", encoding="utf-8")
    if type(stream) is not io.TextIOWrapper or not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        return stream  # a test's, or a console of Windows
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(stream.fileno(), "wb", closefd=False)),
        encoding="utf-8",  # whatever the locale knows: a sign more must not end a run
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )
