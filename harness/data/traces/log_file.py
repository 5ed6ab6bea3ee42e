"""The records of a log file: one JSON object a line, a list of them, pages of an API, or a table. No line is lost."""

import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from harness.data.rows import DataSource, open_rows
from harness.data.text_lines import open_bytes
from harness.data.traces.call import LeftOut
from harness.errors import DataError

PAGES = ("data", "observations", "traces", "items")
"""Keys under which APIs give a page of records."""

LARGEST_DOCUMENT = 1 << 30
"""Bytes of a file that is one JSON document, which must be read as a whole."""


class LogRecord(NamedTuple):
    """number: of the line or element. value: the object, or why there is none. raw: the bytes as they are there."""

    number: int
    value: dict[str, Any] | LeftOut
    raw: bytes


def read_json_log(path: Path) -> Iterator[LogRecord]:
    """Every line or element of a JSON log, readable or not. Raises UsageError for a file that cannot be opened."""
    try:
        with open_bytes(path) as handle:
            buffered = handle if hasattr(handle, "peek") else io.BufferedReader(cast(Any, handle))
            lines = ((number, raw) for number, raw in enumerate(buffered, 1) if raw.strip())
            first = next(lines, None)
            if first is None:
                raise DataError(f"{path}: the file is empty.")
            if _is_document(first[1]):
                yield from _document(path, b"".join(raw for _, raw in chain([first], lines)))
                return
            for number, raw in chain([first], lines):
                yield from _line(number, raw)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from None


def read_table_log(path: Path, delimiter: str | None = None) -> Iterator[LogRecord]:
    """Every row of a CSV or Parquet file. Raises UsageError (file and line) for what cannot be read."""
    for number, row in enumerate(open_rows(DataSource(location=str(path)), delimiter=delimiter), 1):
        yield LogRecord(number, row.fields, b"")


def _is_document(first: bytes) -> bool:
    """Whether a file is one JSON value over several lines, or a list: its first line is no object of its own."""
    text = first.removeprefix(b"\xef\xbb\xbf").strip()
    if text[:1] == b"[":
        return True
    return text[:1] == b"{" and _decoded(text) is None and text in (b"{", b"{}", first.strip()) and len(text) < 200


def _document(path: Path, whole: bytes) -> Iterator[LogRecord]:
    if len(whole) > LARGEST_DOCUMENT:
        raise DataError(
            f"{path}: one JSON document of {len(whole):,} bytes: write one object a line (jq -c '.[]' FILE)."
        )
    text = whole.removeprefix(b"\xef\xbb\xbf").strip()
    if text[:1] == b"[":
        try:
            elements = msgspec.json.decode(text, type=list[msgspec.Raw])
        except (msgspec.DecodeError, RecursionError):
            elements = None
        if elements is not None:
            del whole, text
            for number, element in enumerate(elements, 1):
                yield from _line(number, bytes(element))
            return
    elif (value := _decoded(text)) is not None:
        yield from _expanded(1, value, text)
        return
    for number, raw in enumerate(whole.split(b"\n"), 1):  # no document after all: a broken first line
        if raw.strip():
            yield from _line(number, raw)


def _line(number: int, raw: bytes) -> Iterator[LogRecord]:
    value = _decoded(raw)
    if value is None:
        yield LogRecord(number, LeftOut("not JSON"), raw)
    elif not isinstance(value, dict):
        yield LogRecord(number, LeftOut("no JSON object"), raw)
    else:
        yield from _expanded(number, value, raw)


def _expanded(number: int, value: Any, raw: bytes) -> Iterator[LogRecord]:
    """A page of an API as its records; anything else as it is."""
    for key in PAGES:
        inner = value.get(key) if isinstance(value, dict) and len(value) <= 8 and "id" not in value else None
        if isinstance(inner, list) and inner and all(isinstance(one, dict) for one in inner):
            for one in inner:
                yield LogRecord(number, one, raw if len(inner) == 1 else msgspec.json.encode(one))
            return
    if isinstance(value, dict):
        yield LogRecord(number, value, raw)
    else:
        yield LogRecord(number, LeftOut("no JSON object"), raw)


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
