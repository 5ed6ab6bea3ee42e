"""Sorting more lines than memory holds: sorted pieces in files without names, merged as they are read."""

import heapq
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

AT_ONCE = 250_000
"""Lines sorted in memory at a time."""


class LineSorter:
    """Takes lines without line ends in any order, gives them back sorted, once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._pending: list[bytes] = []
        self._pieces: list[IO[bytes]] = []

    def add(self, line: bytes) -> None:
        """Take in a line."""
        self._pending.append(line)
        if len(self._pending) >= AT_ONCE:
            self._put_aside()

    def _put_aside(self) -> None:
        piece = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed when it has been merged)
        piece.writelines(line + b"\n" for line in sorted(self._pending))
        self._pieces.append(piece)
        self._pending.clear()

    def __iter__(self) -> Iterator[bytes]:
        self._pending.sort()
        yield from heapq.merge(self._pending, *map(_lines, self._pieces))


def _lines(piece: IO[bytes]) -> Iterator[bytes]:
    with piece:
        piece.seek(0)
        for line in piece:
            yield line[:-1]
