"""The records of a log file: one JSON object a line, a list, pages of an API, or a table of calls."""

import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from harness.data.row import value_text
from harness.data.rows import DataSource, open_rows
from harness.data.text_lines import open_bytes
from harness.data.traces.call import (
    Found,
    LeftOut,
    LoggedCall,
    answer_of,
    decoded,
    number_of,
    read_usage,
    seconds_of,
    turns_of,
)
from harness.errors import DataError, UsageError, did_you_mean

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


NAMES: dict[str, tuple[str, ...]] = {
    "input": ("input", "prompt", "question", "query", "user", "request", "messages", "user_message", "text"),
    "output": ("output", "answer", "completion", "response", "assistant", "reply", "generation", "assistant_message"),
    "system": ("system", "system_prompt", "instructions"),
    "time": ("timestamp", "time", "created_at", "created", "start_time", "starttime", "date"),
    "session": ("session_id", "session", "conversation_id", "thread_id", "trace_id", "user_id"),
    "model": ("model", "model_name", "model_id"),
    "latency_s": ("latency_s", "latency", "duration_s", "duration", "seconds"),
    "latency_ms": ("latency_ms", "duration_ms", "ms"),
    "cost": ("cost_usd", "cost", "total_cost", "price"),
    "expected": ("expected", "expected_output", "reference", "gold", "label", "corrected"),
}
"""Names of columns, in the order of trust; compared without case, blanks and hyphens."""


class CallColumns(NamedTuple):
    """Which column holds what; None where there is none."""

    found: dict[str, str]

    def value(self, fields: dict[str, Any], what: str) -> Any:
        """The value of a column of this kind."""
        column = self.found.get(what)
        return None if column is None else fields.get(column)


def columns_of(names: Iterable[str], given: dict[str, str]) -> CallColumns:
    """Guess the columns; `given` names some. Raises UsageError where input or output is not found."""
    plain = {name.casefold().replace(" ", "_").replace("-", "_"): name for name in names}
    found = dict(given)
    for named in given.values():
        if named not in plain.values():
            raise UsageError(f"the log has no column '{named}'{did_you_mean(named, plain.values())}.")
    for what, usual in NAMES.items():
        column = next((plain[name] for name in usual if name in plain and plain[name] not in found.values()), None)
        if column is not None:
            found.setdefault(what, column)
    for what in ("input", "output"):
        if what not in found:
            listed = ", ".join(plain.values())
            raise UsageError(f"no column is called like an {what}: name it with --{what} COLUMN (columns: {listed}).")
    return CallColumns(found)


def read_row(fields: dict[str, Any], columns: CallColumns) -> Iterator[Found]:
    """The call of a row."""
    asked = turns_of(decoded(_text(columns.value(fields, "input"))))
    answer = answer_of(decoded(_text(columns.value(fields, "output"))))
    if not asked or not any(turn["content"].strip() for turn in asked):
        yield LeftOut("holds no messages")
        return
    if answer is None:
        yield LeftOut("holds no answer")
        return
    system = _text(columns.value(fields, "system"))
    seconds, milliseconds = (number_of(columns.value(fields, f"latency_{unit}")) for unit in ("s", "ms"))
    session, expected = (_text(columns.value(fields, what)) for what in ("session", "expected"))
    yield LoggedCall(
        turns=(
            *(({"role": "system", "content": system},) if isinstance(system, str) and system else ()),
            *asked,
            answer,
        ),
        time=seconds_of(columns.value(fields, "time")),
        session=session if isinstance(session, str) else None,
        model=str(columns.value(fields, "model") or ""),
        usage=read_usage({k: number_of(v) for k, v in fields.items() if "token" in k}),
        service_s=seconds if seconds is not None else None if milliseconds is None else milliseconds / 1000,
        cost=number_of(columns.value(fields, "cost")),
        expected=expected if isinstance(expected, str) else None,
    )


def _text(value: Any) -> Any:
    """A cell as text; a list or an object of a Parquet file as it is."""
    return value if isinstance(value, list | dict) else value_text(value)
