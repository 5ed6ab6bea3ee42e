"""Values of data files as text: what a column may hold beside text, and what is no text."""

import datetime
import decimal
import math
import uuid
from typing import Any

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
