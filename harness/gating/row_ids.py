"""The ids of a run's rows in one array: as Python strings they would take a hundred bytes a row."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Order = NDArray[np.unsignedinteger]
"""Positions, in as few bytes as hold the largest one."""

AT_ONCE = 65_536
"""Ids that are strings at a time."""


class RowIds(Sequence[str]):
    """Ids by position. They sort as their UTF-8 bytes do, which is the order of Python's strings."""

    def __init__(self, encoded: NDArray[np.bytes_]) -> None:
        self._encoded = encoded
        self._order: Order | None = None

    @classmethod
    def of(cls, ids: Iterable[str]) -> "RowIds":
        """Take in ids one by one."""
        each, parts = iter(ids), []
        while chunk := [name.encode("utf-8", "surrogatepass") for name in islice(each, AT_ONCE)]:
            parts.append(np.array(chunk, dtype=np.bytes_))
        return cls(np.concatenate(parts) if parts else np.empty(0, dtype="S1"))

    def __len__(self) -> int:
        return len(self._encoded)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "RowIds": ...
    def __getitem__(self, at: int | slice) -> "str | RowIds":
        """The id at a position, or the ids of a slice."""
        if isinstance(at, slice):
            return RowIds(self._encoded[at])
        return _text(self._encoded[at])

    def __iter__(self) -> Iterator[str]:
        return map(_text, self._encoded)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowIds) and np.array_equal(self._encoded, other._encoded)

    __hash__ = None  # type: ignore[assignment]

    def only(self, chosen: Codes | Order) -> "RowIds":
        """The ids at these positions; the same object where these are all of them, in their order."""
        if len(chosen) == len(self) and np.array_equal(chosen, np.arange(len(self))):
            return self
        return RowIds(self._encoded[chosen])

    def order(self) -> Order:
        """The positions in the order of the ids."""
        if self._order is None:
            found = np.argsort(self._encoded, kind="stable")
            self._order = found.astype(np.min_scalar_type(len(self)))
        return self._order

    def repeated(self) -> str | None:
        """An id that occurs twice, or None."""
        ordered = self._encoded[self.order()]
        twice = np.flatnonzero(ordered[1:] == ordered[:-1])
        return _text(ordered[twice[0]]) if len(twice) else None

    def find(self, wanted: "RowIds") -> Codes:
        """The position of each wanted id, (len(wanted),); -1 where it is missing."""
        if not len(self):
            return np.full(len(wanted), -1, dtype=np.int64)
        order = self.order()
        place = np.searchsorted(self._encoded, wanted._encoded, sorter=order)
        found = order[np.minimum(place, len(self) - 1)]
        return np.where(self._encoded[found] == wanted._encoded, found.astype(np.int64), -1)

    def common(self, other: "RowIds") -> int:
        """How many ids both have."""
        return int((self.find(other) >= 0).sum())


def _text(encoded: bytes) -> str:
    return encoded.decode("utf-8", "surrogatepass")
