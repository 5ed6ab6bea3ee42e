"""The forms an answer may have to have: a label, text that matches a pattern, JSON of a schema, or any text.

Each reads strictly and, beside it, leniently; none raises, for any model output. Each also reads the reference of a
row, and refuses one that no answer could be right for.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import jsonschema
import regex
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from harness.errors import UsageError
from harness.records import Completion, Lenient, Score
from harness.scoring.json_scan import outermost_json
from harness.scoring.label_parsing import NOT_AN_ANSWER, answer_text, score_label
from harness.scoring.references import (
    MAPS,
    NoReferenceError,
    json_reference,
    label_reference,
    may_be_mapped,
    pattern_reference,
    text_reference,
)
from harness.text_normalization import canonical_text, comparable_text

MATCH_S = 1.0
"""Longest time (seconds) that a pattern may look at one text."""


class AnswerForm(Protocol):
    """Reads an answer and compares it with the reference (empty: there is no right answer)."""

    @property
    def max_tokens(self) -> int:
        """How long an answer may be, unless the task says otherwise."""
        ...

    def score(self, completion: Completion, reference: str) -> Score:
        """The verdict."""
        ...

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """A data value as the reference of a row. Raises NoReferenceError where no answer could be right for it."""
        ...


@dataclass(frozen=True)
class LabelForm:
    """Exactly one label of a closed set; `values` maps what the data holds to labels."""

    labels: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def max_tokens(self) -> int:
        """Room for the longest label, a token for each byte at worst."""
        return max(len(label.encode()) for label in self.labels) + 4

    def score(self, completion: Completion, reference: str) -> Score:
        """As for every task with labels."""
        return score_label(completion, reference, self.labels)

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """The label that a value means."""
        try:
            return label_reference(value, self.labels, self.values, classes)
        except NoReferenceError as error:
            if self.values or not may_be_mapped(value):
                raise
            raise NoReferenceError(f"{error}; {MAPS}") from None


@dataclass(frozen=True)
class TextForm:
    """Any text that is not empty; right when it equals the reference."""

    max_tokens: int = 256

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "cut off", and what is no answer at all."""
        text = answer_text(completion).strip()
        kind = _no_answer(completion) or ("cut off" if completion.finish == "length" else None)
        right = canonical_text(text).strip() == canonical_text(reference).strip()
        alike = comparable_text(text) == comparable_text(reference)
        return _verdict(text, kind, reference, text, right=right, alike=right or alike)

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """The value as text."""
        return text_reference(value)


@dataclass(frozen=True)
class PatternForm:
    """A text that a regular expression matches as a whole; its first group, if any, is the answer.

    Some expressions take exponential time on texts made for it, and models write what they like: a match ends
    after MATCH_S seconds.
    """

    pattern: "regex.Pattern[str]"
    max_tokens: int = 256

    @classmethod
    def compiled(cls, pattern: str, place: str) -> "PatternForm":
        """Raises UsageError for an expression that is not right."""
        try:
            return cls(regex.compile(unicodedata.normalize("NFC", pattern)))
        except regex.error as error:
            raise UsageError(f"{place}: the pattern is not a valid regular expression ({error}).") from None

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "extra text" (it is contained), "cut off", "no match", "no match in time"."""
        text, expected = canonical_text(answer_text(completion)).strip(), canonical_text(reference)
        kind = _no_answer(completion)
        whole = within = None
        try:
            whole = self.pattern.fullmatch(text, timeout=MATCH_S)
            within = whole or self.pattern.search(text, timeout=MATCH_S)
        except TimeoutError:
            kind = kind or "no match in time"
        if kind is None and whole is None:
            kind = "extra text" if within else "cut off" if completion.finish == "length" else "no match"
        answer = _group(whole)
        guess = _group(whole or within)
        return _verdict(answer, kind, reference, guess, right=answer == expected, alike=guess == expected)

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """The value as text, which the pattern must be able to read."""
        return pattern_reference(value, self.pattern, MATCH_S)


@dataclass(frozen=True)
class SchemaForm:
    """One JSON value that a schema accepts; right when it equals the reference as JSON."""

    schema: dict[str, Any]
    max_tokens: int = 512

    @classmethod
    def checked(cls, schema: dict[str, Any], place: str) -> "SchemaForm":
        """Raises UsageError for a schema that is not right."""
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise UsageError(f"{place}: the schema is invalid ({error.message}).") from None
        _check_references(schema, place)
        return cls(schema)

    @cached_property
    def _validator(self) -> Any:
        # An empty registry: a schema is never read from a file or fetched from an address.
        return _Validator(self.schema, registry=Registry())

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "not JSON", "extra text", "cut off", "against the schema"."""
        text = answer_text(completion).strip()
        kind = _no_answer(completion)
        found = [] if kind else _json_values(text)
        whole = bool(found) and found[0][1] == (0, len(text))
        fitting = [value for value, _ in found if self._fits(value)]
        if kind is None and not (whole and fitting):
            kind = self._kind(whole, fitting, cut=completion.finish == "length")
        guess = fitting[0] if fitting else None
        expected = _parsed(reference)
        same = bool(fitting) and expected is not None and _same_json(guess, expected[0])
        read = _dumped(guess) if fitting else None
        return _verdict(read, kind, reference, read, right=same, alike=same)

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """The value as JSON, which the schema must accept."""
        return json_reference(value, self._fits, self._complaint)

    def _complaint(self, value: Any) -> str:
        try:
            error = jsonschema.exceptions.best_match(self._validator.iter_errors(value))
        except (RecursionError, OverflowError, TimeoutError):
            error = None
        return "no such value is accepted" if error is None else str(error.message)

    def _kind(self, whole: bool, fitting: list[Any], *, cut: bool) -> str:
        if whole:
            return "against the schema"
        return "extra text" if fitting else "cut off" if cut else "not JSON"

    def _fits(self, value: Any) -> bool:
        try:
            return bool(self._validator.is_valid(value)) and bool(_dumped(value))
        except (RecursionError, OverflowError, TimeoutError):  # nested, a number of 400 digits, a pattern without end
            return False


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """The keyword `pattern`, which must not look at a text for ever either."""
    if validator.is_type(instance, "string") and not regex.search(pattern, instance, timeout=MATCH_S):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


def _check_references(schema: dict[str, Any], place: str) -> None:
    """Every `$ref` must be found inside the schema itself."""
    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    resolver = Registry().with_resource("", resource).resolver()
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
        target = part.get("$ref") if isinstance(part, dict) else None
        if not isinstance(target, str):
            continue
        try:
            resolver.lookup(target)
        except Unresolvable:
            raise UsageError(
                f"{place}: the schema refers to {target}, which is not defined in it; put it under $defs."
            ) from None


def _no_answer(completion: Completion) -> str | None:
    kind = NOT_AN_ANSWER.get(completion.finish or "")
    return kind or (None if canonical_text(answer_text(completion)).strip() else "empty")


def _verdict(
    answer: str | None, kind: str | None, reference: str, guess: str | None, *, right: bool, alike: bool
) -> Score:
    """A score from the strict and the lenient reading; without a reference nothing is right or wrong."""
    strict = None if kind else answer
    if kind in NOT_AN_ANSWER.values() or kind == "empty":
        guess, alike = None, False
    if not reference:
        return Score(answer=strict, format=kind, lenient=Lenient(answer=guess))
    return Score(
        answer=strict,
        correct=kind is None and right,
        format=kind,
        lenient=Lenient(answer=guess, correct=alike),
    )


def _group(match: "regex.Match[str] | None") -> str | None:
    if match is None:
        return None
    return (match[1] if match.re.groups else match[0]) or ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def _parsed(text: str) -> tuple[Any] | None:
    try:
        return (_decoder.decode(text.strip()),)
    except (ValueError, RecursionError):
        return None


def _same_json(one: Any, other: Any) -> bool:
    """Equality of JSON, not of Python: true is not 1, and 1.0 is 1. Texts are compared as `canonical_text`."""
    try:
        return bool(jsonschema.Draft202012Validator({"const": _canonical(other)}).is_valid(_canonical(one)))
    except RecursionError:
        return False


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return canonical_text(value)
    if isinstance(value, dict):
        return {canonical_text(key): _canonical(inner) for key, inner in value.items()}
    return [_canonical(inner) for inner in value] if isinstance(value, list) else value


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _json_values(text: str) -> list[tuple[Any, tuple[int, int]]]:
    """The whole text as JSON, else every outermost array or object that it contains, with its position."""
    whole = _parsed(text)
    if whole is not None:
        return [(whole[0], (0, len(text)))]
    return [(value, (start, end)) for value, start, end in outermost_json(text, _decoder)]
