"""One row of a data file, and what readers of data files say of rows that they left out."""

from typing import Any

from harness.data.values import kind_of, value_text
from harness.errors import UsageError, did_you_mean
from harness.records import Record


class DataWarning(UserWarning):
    """What a reader has to say of a file that it could read: rows left out, a separator found. Never silent."""


class DataRow(Record, frozen=True, kw_only=True):
    """One row as read: its fields, and the place it came from (`train.csv:12`).

    classes: for columns of class numbers, the names that the data set itself gives them (a ClassLabel of the Hub).
    """

    fields: dict[str, Any]
    place: str
    classes: dict[str, tuple[str, ...]] = {}

    def value(self, name: str) -> Any:
        """A field as it was read. Raises UsageError naming the place where it is missing."""
        if name not in self.fields:
            raise UsageError(f"{self.place}: no column '{name}'{did_you_mean(name, self.fields)}.")
        return self.fields[name]

    def text(self, name: str) -> str:
        """A field as text. Raises UsageError naming the place where it is missing or not text."""
        value = self.value(name)
        text = value_text(value)
        if text is None:
            raise UsageError(f"{self.place}: column '{name}' holds {kind_of(value)}, not text.")
        return text
