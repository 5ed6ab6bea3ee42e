"""What is known of every row, column by column, small enough for millions of rows."""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

MOST_TEXTS = 100_000
"""A column of more distinct texts is no column to slice by; further ones count as empty."""


@dataclass(frozen=True)
class Column:
    """A column of texts that repeat: the distinct ones, and (n,) which of them each row holds."""

    texts: tuple[str, ...]
    codes: NDArray[np.int32]

    def only(self, chosen: Codes) -> "Column":
        """The column of these rows."""
        return Column(self.texts, self.codes[chosen])

    def counts(self) -> dict[str, int]:
        """Rows of every text that stands in it, in the order of first mention."""
        found = np.bincount(self.codes, minlength=len(self.texts))
        return {text: int(count) for text, count in zip(self.texts, found, strict=True) if count}

    def rows_of(self, text: str) -> Codes:
        """The positions that hold a text."""
        return np.flatnonzero(self.codes == self.texts.index(text))


class ColumnBuilder:
    """Gathers a column; rows without a text hold the empty one."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._codes = array("i")

    def add(self, row: int, text: str) -> None:
        """The text of a row; rows come in order."""
        self._fill(row)
        if len(self._known) >= MOST_TEXTS and text not in self._known:
            text = ""
        self._codes.append(self._known.setdefault(text, len(self._known)))

    def _fill(self, rows: int) -> None:
        if len(self._codes) < rows:
            empty = self._known.setdefault("", len(self._known))
            self._codes.extend([empty] * (rows - len(self._codes)))

    def build(self, rows: int) -> Column:
        """The column of so many rows."""
        self._fill(rows)
        return Column(tuple(self._known), np.array(self._codes, dtype=np.int32))


class RowValues(Mapping[str, Array]):
    """Values of rows by metric; nan where there is none. What is only 0, 1 or nan takes a byte a row."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.int8] | Array] = {}

    def keep(self, name: str, values: Array) -> None:
        """Take in a metric's values."""
        small = np.where(np.isnan(values), -1, values).astype(np.int8)
        self._kept[name] = small if np.array_equal(_wide(small), values, equal_nan=True) else values

    def __getitem__(self, name: str) -> Array:
        kept = self._kept[name]
        return _wide(kept) if kept.dtype == np.int8 else kept.astype(np.float64, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def _wide(small: NDArray[np.int8] | Array) -> Array:
    return np.where(small < 0, np.nan, small).astype(np.float64, copy=False)
