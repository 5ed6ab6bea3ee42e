"""Rows as JSON: one object a line or a list of objects, whichever the file holds, whatever it is called."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from harness.data.row import DataRow
from harness.data.text_lines import format_suffix, text_lines
from harness.errors import DataError, UsageError

OF_LINES = (".jsonl", ".ndjson", ".jsonlines")
"""Endings that promise one object a line."""

_decoder = json.JSONDecoder()
_BLANK = re.compile(r"\s*")


def read_json(path: Path, _headerless: tuple[str, ...] = ()) -> Iterator[DataRow]:
    """The rows of a JSON file. Raises UsageError with file and line, or the number of the element."""
    lines = ((number, line) for number, line in enumerate(text_lines(path), 1) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    if first[1].lstrip().startswith("["):
        yield from _of_list(path, first[1], "".join(line for _, line in chain([first], lines)))
        return
    lined = format_suffix(path) in OF_LINES
    second = next(lines, None)
    if not lined and (second is None or not _is_object(first[1])):
        rest = [] if second is None else [second, *lines]
        yield from _of_objects(path, "".join(line for _, line in [first, *rest]))
        return
    for number, line in chain([first], [] if second is None else [second], lines):
        yield _object_row(line, f"{path}:{number}")


def _of_list(path: Path, first: str, text: str) -> Iterator[DataRow]:
    try:
        elements = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        if format_suffix(path) in OF_LINES and _is_json(first):
            elements = []
        else:
            raise DataError(f"{path}: not JSON ({error}).") from None
    if format_suffix(path) in OF_LINES and not any(bytes(e).startswith(b"{") for e in elements):
        _object_row(first, f"{path}:1")  # raises: a line that is a list is no row
    for number, element in enumerate(elements, 1):
        yield _object_row(bytes(element).decode(), f"{path}: element {number}")


def _of_objects(path: Path, text: str) -> Iterator[DataRow]:
    """Consecutive objects, each on several lines; one alone is no list of rows."""
    at, number = _end_of_blank(text, 0), 0
    while at < len(text):
        try:
            value, end = _decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: not JSON ({error}).") from None
        after = _end_of_blank(text, end)
        if number == 0 and after == len(text):
            raise DataError(
                f"{path}: a JSON data file holds a list of objects, or one object a line; this is {_one(value)}."
            )
        number += 1
        yield _object_row(text[at:end], f"{path}: element {number}")
        at = after


def _end_of_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _one(value: Any) -> str:
    """What a file holds that is one JSON value, and how its rows are had."""
    if not isinstance(value, dict):
        return f"one {type(value).__name__}"
    for key, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(one, dict) for one in inner):
            return f"one object, whose '{key}' is such a list: jq '.[\"{key}\"]' FILE > rows.json"
    if value and all(isinstance(inner, dict | list) for inner in value.values()):
        return "one object of columns: pandas writes rows with DataFrame.to_json(path, orient='records', lines=True)"
    return "one object"


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_object(text: str) -> bool:
    return text.lstrip().startswith("{") and _is_json(text)


def _object_row(text: str, place: str) -> DataRow:
    try:
        value = msgspec.json.decode(text)
        json.loads(text, object_pairs_hook=_refuse_twice, strict=False)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON ({error}).") from None
    except UsageError as error:
        raise DataError(f"{place}: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{place}: a row must be a JSON object, this is {type(value).__name__}.")
    return DataRow(fields=value, place=place)


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """A duplicate key hides a value: parsers keep one of the two in silence. Raises UsageError."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"the key '{twice}' occurs twice in one object: rename one.")
