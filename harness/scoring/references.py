"""Reading the right answer of a row out of its data, and refusing one for which no answer could be right."""

import ast
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

import regex

from harness.data.row import DataRow, is_missing, kind_of, value_text
from harness.errors import DataError
from harness.scoring.label_parsing import spelled_label
from harness.text_normalization import canonical_text, comparable_text

SHOWN = 60
LISTED = 24
"""Labels that a message lists; of more it says how many there are."""

"""Most characters of a value that a sentence repeats."""

LONGEST_NUMBER = 30
"""Most digits of a whole number that is compared as a number."""

MAPS = 'the table [values] maps what the data holds to labels, as in 0 = "no"'

_WITH_CONTEXT = regex.compile(r"\\[1-9bBAZGKk]|\(\?[=!<P(R&|>]|[\^$]|\(\*")
"""Parts of an expression whose match depends on the text around a group, or on other groups."""

_TOKEN = regex.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<open>\((?:(?![?*])|\?P?<(?![=!])\w+>))|\(|\)", regex.DOTALL)
"""The constructs of an expression that matter for groups: an escape, a set, a capturing parenthesis, any other one."""

_FLAGS = regex.compile(r"\(\?[a-wyzA-Z0-9]+\)")
_SCOPED_FLAGS = regex.compile(r"\(\?[a-zA-Z0-9]*-?[a-zA-Z0-9]+[:)]")


class NoReferenceError(ValueError):
    """Why a value cannot be the right answer of a row: the rest of a sentence that begins with its column."""


def read_label(row: DataRow, column: str, labels: tuple[str, ...], values: Mapping[str, str] | None = None) -> str:
    """The label that a column of a row holds. Raises UsageError with file and line. See `label_reference`."""
    try:
        return label_reference(row.value(column), labels, values or {}, row.classes.get(column, ()))
    except NoReferenceError as error:
        raise DataError(f"{row.place}: {column} {error}.") from None


def label_reference(
    value: Any, labels: tuple[str, ...], values: Mapping[str, str], classes: tuple[str, ...] = ()
) -> str:
    """A data value as one of `labels`.

    In this order: what `values` maps it to; the label with the same text (`comparable_text`); for a boolean the label
    1 or 0; the label with the same number (1.0 is 1); for an integer the name that the data set itself gives this class
    (`classes`, of a ClassLabel column). Raises NoReferenceError.
    """
    text = value_text(value)
    if text is None or not text.strip():
        raise NoReferenceError("is empty" if is_missing(value) or text is not None else f"holds {kind_of(value)}")
    mapped = {comparable_text(key): label for key, label in values.items()}
    written = [text, *([str(int(value))] if isinstance(value, bool) else _whole(text))]
    for one in written:
        label = mapped.get(comparable_text(one)) or spelled_label(one, labels)
        if label is not None:
            return label
    number = _number(text)
    same = [label for label in labels if number is not None and _number(label) == number]
    if len(same) == 1:
        return same[0]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(classes):
        named = mapped.get(comparable_text(classes[value])) or spelled_label(classes[value], labels)
        if named is not None:
            return named
    raise NoReferenceError(_none_of(text, value, labels, values, classes))


def _none_of(
    text: str, value: Any, labels: tuple[str, ...], values: Mapping[str, str], classes: tuple[str, ...]
) -> str:
    keys = f"{', '.join(values)} nor of " if values else ""
    known = ", ".join(labels) if len(labels) <= LISTED else f"the {len(labels)} labels"
    near = get_close_matches(text.strip(), labels, n=1) if _number(text) is None else []  # -1 is no misspelt 1
    guess = f" (did you mean '{near[0]}'?)" if near else ""
    message = f"'{text.strip()[:SHOWN]}'{guess} is none of {keys}{known}"
    if _number(text) == -1:
        return f"{message} (-1 marks a row whose label is not given out)"
    if isinstance(value, int) and 0 <= value < len(classes):
        return f"{message}; the data set calls this class '{classes[value]}'"
    return message


def may_be_mapped(value: Any) -> bool:
    """Whether a value is one that data sets write in place of a label: a number or a boolean."""
    text = value_text(value) or ""
    return _number(text) is not None or comparable_text(text) in ("true", "false")


def text_reference(value: Any) -> str:
    """A data value as text that answers are compared with. Raises NoReferenceError for what is no text, or empty."""
    text = value_text(value)
    if text is None and not is_missing(value):
        raise NoReferenceError(
            f"holds {kind_of(value)}, and answers are compared with it as text: give the answer a [schema], "
            "then they are compared as JSON"
        )
    if text is None or not canonical_text(text).strip():
        raise NoReferenceError("is empty: no answer could be right")
    return (_whole(text) or [text])[0].strip() if isinstance(value, float) else text.strip()


def pattern_reference(value: Any, pattern: "regex.Pattern[str]", timeout_s: float) -> str:
    """A data value as what `pattern` reads out of an answer. Raises NoReferenceError where it never could."""
    text = text_reference(value)
    readable = _first_group(pattern.pattern) if pattern.groups else pattern
    try:
        fits = readable is None or readable.fullmatch(canonical_text(text), timeout=timeout_s) is not None
    except TimeoutError:
        return text
    if not fits:
        what = "its first group" if pattern.groups else "it"
        raise NoReferenceError(
            f"'{text[:SHOWN]}' can never be the value of an answer: the pattern {pattern.pattern[:SHOWN]} does not "
            f"match it ({what} is the answer)"
        )
    return text


def _first_group(source: str) -> "regex.Pattern[str] | None":
    """The first capturing group of an expression on its own; None where it depends on the surrounding text."""
    inner = _text_of_first_group(source)
    flags = _FLAGS.match(source)
    scoped = _SCOPED_FLAGS.search(source, flags.end() if flags else 0)
    if inner is None or scoped or _WITH_CONTEXT.search(inner.replace("[^", "[")):
        return None
    try:
        return regex.compile((flags[0] if flags else "") + f"(?:{inner})")
    except regex.error:
        return None


def _text_of_first_group(source: str) -> str | None:
    start, depth = -1, 0
    for token in _TOKEN.finditer(source):
        if start < 0:
            if token["open"] is not None:
                start = token.end()
        elif token[0].startswith("("):
            depth += 1
        elif token[0] == ")":
            if depth == 0:
                return source[start : token.start()]
            depth -= 1
    return None


def json_reference(value: Any, fits: Callable[[Any], bool], why: Callable[[Any], str]) -> str:
    """A data value as JSON that a schema accepts, as text.

    value: an object, list, number, boolean as such, or JSON as text; a text that is not JSON is taken as a string where
    the schema accepts one. fits: whether the schema accepts a value; why: what it says against one. Raises
    NoReferenceError: not JSON (a Python literal is named as such), or against the schema.
    """
    if is_missing(value) or value == "":
        raise NoReferenceError("is empty: no answer could be right")
    readings = _readings(value)
    for reading in readings:
        if fits(reading):
            return json.dumps(reading, ensure_ascii=False)
    if isinstance(value, str) and len(readings) == 1:
        raise NoReferenceError(_not_json(value))
    raise NoReferenceError(f"is against the schema: {why(readings[0])[: 3 * SHOWN]}")


def _readings(value: Any) -> list[Any]:
    """What a value may be as JSON, the likeliest first."""
    if isinstance(value, str):
        try:
            return [json.loads(value, parse_constant=_no_constant), value]
        except (ValueError, RecursionError):
            return [value]
    plain = plain_json(value)
    return [plain, _without_nulls(plain)]


def plain_json(value: Any) -> Any:
    """A value of Parquet as JSON knows it."""
    if isinstance(value, dict):
        return {str(key): plain_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    text = value_text(value)
    if text is None:
        raise NoReferenceError(f"holds {kind_of(value)}, which JSON cannot")
    return float(value) if isinstance(value, Decimal) else text


def _without_nulls(value: Any) -> Any:
    """Without null values: Parquet gives every object the keys of all others of its column."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _not_json(text: str) -> str:
    shown = f"'{text[:SHOWN]}' is not JSON"
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return f"{shown}, and answers are compared with it as JSON"
    return f"{shown} but a Python literal: write the column with json.dumps(value), not with str(value)"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _number(text: str) -> Decimal | None:
    text = comparable_text(text)
    if not text.isascii():  # Decimal reads digits of every script; labels are not compared so
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _whole(text: str) -> list[str]:
    """A whole number that is written as 1.0, as 1."""
    number = _number(text)
    if number is None or number.adjusted() > LONGEST_NUMBER or number != number.to_integral_value():
        return []
    return [str(int(number))]


def check_values(values: Mapping[str, str], labels: Iterable[str], place: str) -> None:
    """Raises UsageError for a value map that leads to something that is no label, or maps one value twice."""
    seen: dict[str, str] = {}
    for key, label in values.items():
        if label not in labels:
            raise DataError(f"{place}: [values] maps {key} to '{label}', which is none of {', '.join(labels)}.")
        same = seen.setdefault(comparable_text(key), key)
        if same != key:
            raise DataError(f"{place}: [values] maps '{same}' and '{key}', which are the same after normalisation.")
