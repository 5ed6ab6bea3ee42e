"""Records by position that need not stay in memory: one JSON line each, few of them in memory, many in a file."""

import tempfile
import threading
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Generic, TypeVar, overload

import msgspec

from harness.errors import DataError

T = TypeVar("T")
U = TypeVar("U")

IN_MEMORY = 64 * 2**20
"""Bytes that a shelf keeps in memory; from then on it is a file without a name, gone when its owner is."""

AT_ONCE = 4 * 2**20
BLOCK = 128
"""Records read together where they are read in order."""


class SpooledRecords(Sequence[T], Generic[T]):
    """A growing sequence of records. Eight bytes of memory a record, once the file has taken over.

    Every read decodes again. Reading is safe from several threads; appending is for one.
    """

    def __init__(self, kind: type[T], folder: Path | None = None) -> None:
        """An empty shelf; its file, should it need one, lies in `folder` (default: the system's own)."""
        location = None if folder is None else str(folder)
        file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=location)  # noqa: SIM115 (lives as long as we)
        self._use(kind, file, array("q", [0]), "")

    def _use(self, kind: type[T], file: IO[bytes], ends: "array[int]", name: str) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._encode = msgspec.json.Encoder().encode
        self._file, self._ends, self._name = file, ends, name
        self._lock = threading.Lock()
        self._ahead: tuple[int, list[bytes]] = (0, [])
        weakref.finalize(self, file.close)

    @classmethod
    def of_file(cls, kind: type[T], path: Path) -> "SpooledRecords[T]":
        """The records of a file of JSON lines, to be read. A last line without an end is no line."""
        store = cls.__new__(cls)
        store._use(kind, path.open("rb"), _line_ends(path), str(path))
        return store

    def append(self, record: T) -> None:
        """Add a record."""
        data = self._encode(record) + b"\n"
        self._file.seek(self._ends[-1])
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> list[T]: ...
    def __getitem__(self, at: int | slice) -> T | list[T]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        if at < 0:
            at += len(self)
        if not 0 <= at < len(self):
            raise IndexError(at)
        first, lines = self._ahead
        if at == first + len(lines):  # read in order: the next ones will be wanted too
            first, lines = self._ahead = at, self._lines(at, at + BLOCK)
        line = lines[at - first] if first <= at < first + len(lines) else self._read(at, at + 1)
        return self._decode(self._decoder.decode, line, at)

    def __iter__(self) -> Iterator[T]:
        return self.each(self._decoder.decode)

    def each(self, decode: Callable[[bytes], U]) -> Iterator[U]:
        """All records in order, as `decode` reads their lines."""
        for first in range(0, len(self), BLOCK):
            for at, line in enumerate(self._lines(first, first + BLOCK), first):
                yield self._decode(decode, line, at)

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all lines unchanged to an open file."""
        position = 0
        while position < self._ends[-1]:
            with self._lock:
                self._file.seek(position)
                data = self._file.read(min(AT_ONCE, self._ends[-1] - position))
            file.write(data)
            position += len(data)

    def _lines(self, first: int, last: int) -> list[bytes]:
        return self._read(first, min(last, len(self))).split(b"\n")[:-1]

    def _read(self, first: int, last: int) -> bytes:
        start = self._ends[first]
        with self._lock:
            self._file.seek(start)
            return self._file.read(self._ends[last] - start)

    def _decode(self, decode: Callable[[bytes], U], line: bytes, at: int) -> U:
        try:
            return decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{self._name}:{at + 1}: not a line of this Bench ({error}).") from None


def _line_ends(path: Path) -> "array[int]":
    """Where every line ends, 0 before them."""
    import numpy as np

    ends = array("q", [0])
    position = 0
    with path.open("rb") as file:
        while data := file.read(AT_ONCE):
            found = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + (position + 1)
            ends.frombytes(found.astype(np.int64).tobytes())
            position += len(data)
    return ends
