"""One row of a data file and its values as text."""

import datetime
import decimal
import math
import uuid
from typing import Any

from harness.errors import DataError, did_you_mean
from harness.records import Record

KINDS: dict[type, str] = {
    list: "a list",
    tuple: "a list",
    dict: "an object",
    bytes: "bytes",
    type(None): "nothing (null)",
}


def kind_of(value: Any) -> str:
    """What a value is, in words: "a list", "an object", ..

    NaN is what pandas and Parquet keep where a value is missing.
    """
    if isinstance(value, float) and math.isnan(value):
        return "nothing (NaN)"
    return KINDS.get(type(value), type(value).__name__)


def value_text(value: Any) -> str | None:
    """A single value as text; None for what is no text: a list, an object, bytes, nothing, NaN.

    Booleans are written as JSON writes them (true, false), dates as ISO 8601.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, float):
        return None if math.isnan(value) else str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal | uuid.UUID | datetime.timedelta) else None


def is_missing(value: Any) -> bool:
    """Whether a data file holds no value here."""
    return value is None or (isinstance(value, float) and math.isnan(value))


class DataWarning(UserWarning):
    """What a reader has to say of a file that it could read: rows left out, a separator found. Never silent."""


class DataRow(Record, frozen=True, kw_only=True):
    """One row as read: its fields, and the place it came from (`train.csv:12`).

    fields: values by column. place: file and line, for messages (`train.csv:12`). classes: for columns of class
    numbers, the names that the data set itself gives them (a ClassLabel of the Hub).
    """

    fields: dict[str, Any]
    place: str
    classes: dict[str, tuple[str, ...]] = {}

    def value(self, name: str) -> Any:
        """A field as it was read. Raises UsageError naming the place where it is missing."""
        if name not in self.fields:
            raise DataError(f"{self.place}: no column '{name}'{did_you_mean(name, self.fields)}.")
        return self.fields[name]

    def text(self, name: str) -> str:
        """A field as text. Raises UsageError naming the place where it is missing or not text."""
        value = self.value(name)
        text = value_text(value)
        if text is None:
            raise DataError(f"{self.place}: column '{name}' holds {kind_of(value)}, not text.")
        return text
