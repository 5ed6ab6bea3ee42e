"""How the value of one field of a JSON answer is held against the reference: exact, without case, as a number, a date,
a set, or records that are matched by a key."""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from harness.errors import UsageError, did_you_mean
from harness.scoring.answer_reading import json_text, same_json
from harness.scoring.number_form import read_number, within
from harness.text_normalization import canonical_text, comparable_text

Match = Literal["exact", "casefold", "number", "date", "boolean", "set", "records"]
MATCHES: tuple[Match, ...] = ("exact", "casefold", "number", "date", "boolean", "set", "records")

_DATE_FORMS = (
    "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%Y%m%d",
)  # fmt: skip
"""Forms of a date that mean one day everywhere; 03/04/2025 is two."""


class FieldOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the table [fields]; a text alone is its `match`.

    match: "exact" (text as a reader sees it, or any JSON), "casefold" (text without regard to case, white space and
    punctuation marks of one kind), "number", "date" (ISO 8601, or with the month as a word), "boolean", "set" (a list
    without order), "records" (a list of objects). tolerance, relative_tolerance: of a number. key: field by which
    records are matched. fields: the entries of each record.
    """

    match: Match = "casefold"
    tolerance: float = 0.0
    relative_tolerance: float = 0.0
    key: str | None = None
    fields: dict[str, Any] = {}


@dataclass(frozen=True)
class Counted:
    """What a field adds: parts that agree, parts of the reference, parts of the answer; one part but for sets and
    records."""

    hits: float
    references: float
    answers: float

    @property
    def right(self) -> bool:
        """Whether all agree."""
        return self.hits == self.references == self.answers


@dataclass(frozen=True)
class FieldRule:
    """A field's rule. Values are JSON; null and the empty text are an absent value."""

    options: FieldOptions
    inner: Mapping[str, "FieldRule"] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any, place: str) -> "FieldRule":
        """From the task file. Raises UsageError for what is no rule."""
        table = {"match": given} if isinstance(given, str) else given
        if not isinstance(table, dict):
            raise UsageError(f"{place}: name a way of comparing ({', '.join(MATCHES)}), or a table with `match`.")
        match = table.get("match", "casefold")
        if match not in MATCHES:
            raise UsageError(f"{place}: '{match}' is no way of comparing{did_you_mean(str(match), MATCHES)}.")
        known = [f.name for f in msgspec.structs.fields(FieldOptions)]
        wrong = next((name for name in table if name not in known), None)
        if wrong is not None:
            raise UsageError(f"{place}: unknown key '{wrong}'{did_you_mean(wrong, known)}.")
        try:
            options = msgspec.convert(table, FieldOptions)
        except msgspec.ValidationError as error:
            raise UsageError(f"{place}: {error}.") from None
        if (options.match == "records") != bool(options.fields):
            raise UsageError(f'{place}: `fields` belong to match = "records", and records need them.')
        inner = {name: cls.of(rule, f"{place}.{name}") for name, rule in options.fields.items()}
        if any(rule.options.match == "records" for rule in inner.values()):
            raise UsageError(f"{place}: a record holds no records.")
        if options.key is not None and options.key not in inner:
            raise UsageError(f"{place}: key '{options.key}' is none of the fields{did_you_mean(options.key, inner)}.")
        if options.match != "number" and (options.tolerance or options.relative_tolerance):
            raise UsageError(f'{place}: a tolerance belongs to match = "number".')
        return cls(options, inner)

    def schema(self) -> dict[str, Any]:
        """JSON schema of a value, null included."""
        match = self.options.match
        if match == "set":
            return {"type": ["array", "null"], "items": {"type": "string"}}
        if match == "records":
            return {"type": ["array", "null"], "items": object_schema(self.inner)}
        if match == "exact":
            return {"type": ["string", "number", "boolean", "null"]}
        kind = {"number": "number", "boolean": "boolean"}.get(match, "string")
        return {"type": [kind, "null"]}

    def fits(self, value: Any) -> bool:
        """Whether a value of an answer has the type of the field."""
        if absent(value):
            return True
        match = self.options.match
        if match == "set":
            return isinstance(value, list) and not any(isinstance(one, list | dict) for one in value)
        if match == "records":
            return isinstance(value, list) and all(isinstance(one, dict) and self._fits(one) for one in value)
        if match == "number":
            return _number(value) is not None
        if match == "boolean":
            return isinstance(value, bool)
        return match == "exact" or not isinstance(value, list | dict)

    def _fits(self, record: dict[str, Any]) -> bool:
        return record.keys() <= self.inner.keys() and all(self.inner[k].fits(v) for k, v in record.items())

    def why_not(self, value: Any) -> str | None:
        """Why a value cannot be a reference; None where it can."""
        if not self.fits(value):
            return f'{_shown(value)} is no value of match = "{self.options.match}"'
        if self.options.match == "date" and not absent(value) and read_date(value) is None:
            return f"{_shown(value)} is no date that is the same everywhere (write 2025-04-03)"
        return None

    def count(self, answer: Any, reference: Any) -> Counted:
        """How far two values agree."""
        if self.options.match == "set":
            return _of_sets(_members(answer), _members(reference))
        if self.options.match == "records":
            return self._of_records(answer or [], reference or [])
        given, wanted = not absent(answer), not absent(reference)
        return Counted(float(given and wanted and self.same(answer, reference)), float(wanted), float(given))

    def same(self, answer: Any, reference: Any) -> bool:
        """Whether two single values that are both there agree."""
        match = self.options.match
        if match == "number":
            one, other = _number(answer), _number(reference)
            room = self.options.tolerance, self.options.relative_tolerance
            return one is not None and other is not None and within(one, other, *room)
        if match == "date":
            day = read_date(answer)
            return day is not None and day == read_date(reference)
        if match == "exact":
            if isinstance(answer, str) and isinstance(reference, str):
                return canonical_text(answer).strip() == canonical_text(reference).strip()
            return same_json(answer, reference)
        return comparable_text(_text(answer)) == comparable_text(_text(reference))

    def _of_records(self, answers: list[dict[str, Any]], references: list[dict[str, Any]]) -> Counted:
        """Parts of records: each record's fields that have a value. Records are matched by the key; without one, in
        the order in which most of their parts agree."""
        hits = sum(
            self.inner[name].count(answers[i].get(name), references[j].get(name)).hits
            for i, j in self._matched(answers, references)
            for name in self.inner
        )
        return Counted(hits, self._parts(references), self._parts(answers))

    def _parts(self, records: list[dict[str, Any]]) -> float:
        return float(sum(self.inner[n].count(None, record.get(n)).references for record in records for n in self.inner))

    def _matched(self, answers: list[dict[str, Any]], references: list[dict[str, Any]]) -> list[tuple[int, int]]:
        pairs = []
        for i, answer in enumerate(answers):
            for j, reference in enumerate(references):
                key = self.options.key
                if key is not None and not self.inner[key].count(answer.get(key), reference.get(key)).right:
                    continue
                agree = sum(self.inner[n].count(answer.get(n), reference.get(n)).hits for n in self.inner)
                if agree:
                    pairs.append((-agree, i, j))
        return one_to_one(pairs)


def one_to_one(pairs: list[tuple[float, int, int]]) -> list[tuple[int, int]]:
    """Pairs (cost, i, j) taken in rising cost, each i and each j once."""
    left: set[int] = set()
    right: set[int] = set()
    taken = []
    for _, i, j in sorted(pairs):
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            taken.append((i, j))
    return taken


def object_schema(rules: Mapping[str, FieldRule]) -> dict[str, Any]:
    """JSON schema of an object with all of these fields; every one is there, null where there is no value."""
    return {
        "type": "object",
        "properties": {name: rule.schema() for name, rule in rules.items()},
        "required": list(rules),
        "additionalProperties": False,
    }


def absent(value: Any) -> bool:
    """Whether a value says that there is none."""
    return value is None or value == [] or (isinstance(value, str) and not canonical_text(value).strip())


def read_date(value: Any) -> datetime.date | None:
    """The day that a text names; None where it names none, or two."""
    text = " ".join(str(value).split())
    try:
        return datetime.datetime.fromisoformat(text).date()
    except ValueError:
        pass
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", text)
    for form in _DATE_FORMS:
        try:
            return datetime.datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e300 else None
    return read_number(value) if isinstance(value, str) else None


def _members(value: Any) -> frozenset[str]:
    return frozenset(comparable_text(_text(one)) for one in value) if isinstance(value, list) else frozenset()


def _of_sets(answer: frozenset[str], reference: frozenset[str]) -> Counted:
    return Counted(float(len(answer & reference)), float(len(reference)), float(len(answer)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _shown(value: Any) -> str:
    return json_text(value)[:60]
