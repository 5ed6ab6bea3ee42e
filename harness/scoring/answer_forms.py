"""The forms an answer may have to have: a label, text that matches a pattern, JSON of a schema, or any text.

Each reads strictly and, beside it, leniently; none raises, for any model output. Each also reads the reference of a
row, and refuses one that no answer could be right for.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import jsonschema
import msgspec
import regex
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from harness.errors import UsageError
from harness.metrics import (
    ACCURACY,
    CLASSIFICATION,
    FORMAT_ERROR_RATE,
    LENIENT_ACCURACY,
    LENIENT_FORMAT_ERROR_RATE,
    Metric,
)
from harness.records import Completion, Lenient, Score
from harness.scoring.answer_reading import json_text, json_values, no_answer, parsed_json, same_json, verdict
from harness.scoring.label_parsing import answer_text, score_label
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

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed set of which an answer is one; empty for every other form."""
        ...

    def json_schema(self) -> dict[str, Any] | None:
        """JSON schema by which decoding can be constrained; None: the label set does it, or nothing."""
        ...

    def metrics(self) -> tuple[Metric, ...]:
        """What is reported unless the task names metrics; the first is the headline. Without a reference only those
        that need none."""
        ...

    def further_metrics(self) -> tuple[Metric, ...]:
        """What a task may name beside them."""
        ...

    def score(self, completion: Completion, reference: str) -> Score:
        """The verdict."""
        ...

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """A data value as the reference of a row, in the spelling that a model is trained to answer with. Raises
        NoReferenceError where no answer could be right for it."""
        ...


class OpenForm:
    """What holds of forms without a closed set of answers."""

    @property
    def labels(self) -> tuple[str, ...]:
        """None."""
        return ()

    def json_schema(self) -> dict[str, Any] | None:
        """None."""
        return None

    def metrics(self) -> tuple[Metric, ...]:
        """Right or wrong, and well formed or not."""
        return (ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY)

    def further_metrics(self) -> tuple[Metric, ...]:
        """The rest of what every form has."""
        return (LENIENT_FORMAT_ERROR_RATE,)


@dataclass(frozen=True)
class LabelForm:
    """Exactly one label of a closed set; `values` maps what the data holds to labels, `aliases` other spellings, which
    answers may use too."""

    labels: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def json_schema(self) -> None:
        """The label set is enough."""

    def metrics(self) -> tuple[Metric, ...]:
        """Those of every task with labels."""
        return CLASSIFICATION

    def further_metrics(self) -> tuple[Metric, ...]:
        """None."""
        return ()

    @property
    def max_tokens(self) -> int:
        """Room for the longest label, a token for each byte at worst."""
        return max(len(label.encode()) for label in (*self.labels, *self.aliases)) + 4

    def score(self, completion: Completion, reference: str) -> Score:
        """As for every task with labels."""
        score = score_label(completion, reference, self.labels, self.aliases)
        if reference:
            return score
        return msgspec.structs.replace(score, correct=None, lenient=Lenient(answer=score.lenient.answer))

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """The label that a value means."""
        try:
            return label_reference(value, self.labels, {**self.aliases, **self.values}, classes)
        except NoReferenceError as error:
            if self.values or not may_be_mapped(value):
                raise
            raise NoReferenceError(f"{error}; {MAPS}") from None


@dataclass(frozen=True)
class TextForm(OpenForm):
    """Any text that is not empty; right when it equals the reference."""

    max_tokens: int = 256

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "cut off", and what is no answer at all."""
        text = answer_text(completion).strip()
        kind = no_answer(completion) or ("cut off" if completion.finish == "length" else None)
        right = canonical_text(text).strip() == canonical_text(reference).strip()
        alike = comparable_text(text) == comparable_text(reference)
        return verdict(text, kind, reference, text, right=right, alike=right or alike)

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """The value as text."""
        return text_reference(value)


@dataclass(frozen=True)
class PatternForm(OpenForm):
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
        kind = no_answer(completion)
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
        return verdict(answer, kind, reference, guess, right=answer == expected, alike=guess == expected)

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """The value as text, which the pattern must be able to read."""
        return pattern_reference(value, self.pattern, MATCH_S)


@dataclass(frozen=True)
class SchemaForm(OpenForm):
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

    def json_schema(self) -> dict[str, Any]:
        """The schema itself."""
        return self.schema

    @cached_property
    def _validator(self) -> Any:
        # An empty registry: a schema is never read from a file or fetched from an address.
        return _Validator(self.schema, registry=Registry())

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "not JSON", "extra text", "cut off", "against the schema"."""
        text = answer_text(completion).strip()
        kind = no_answer(completion)
        found = [] if kind else json_values(text)
        whole = bool(found) and found[0][1] == (0, len(text))
        fitting = [value for value, _ in found if self._fits(value)]
        if kind is None and not (whole and fitting):
            kind = self._kind(whole, fitting, cut=completion.finish == "length")
        guess = fitting[0] if fitting else None
        expected = parsed_json(reference)
        same = bool(fitting) and expected is not None and same_json(guess, expected[0])
        read = json_text(guess) if fitting else None
        return verdict(read, kind, reference, read, right=same, alike=same)

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
            return bool(self._validator.is_valid(value)) and bool(json_text(value))
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


def _group(match: "regex.Match[str] | None") -> str | None:
    if match is None:
        return None
    return (match[1] if match.re.groups else match[0]) or ""
