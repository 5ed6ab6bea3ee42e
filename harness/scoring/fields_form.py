"""A JSON object of named fields, each compared by its own rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.data.row import is_missing, kind_of
from harness.metrics import (
    ACCURACY,
    FORMAT_ERROR_RATE,
    LENIENT_ACCURACY,
    LENIENT_FORMAT_ERROR_RATE,
    Metric,
)
from harness.records import Completion, Score
from harness.scoring.answer_forms import OpenForm
from harness.scoring.answer_reading import json_text, json_values, no_answer, parsed_json, verdict
from harness.scoring.field_rules import Counted, FieldRule, object_schema
from harness.scoring.label_parsing import answer_text
from harness.scoring.references import SHOWN, NoReferenceError, plain_json

FIELD_ACCURACY = Metric(name="field_accuracy", row_value="field_accuracy", proportion=False, low=0.0, high=1.0)
MICRO = {
    name: Metric(name=name, kind="counts", row_value="hits", proportion=False, unit="field")
    for name in ("micro_f1", "micro_precision", "micro_recall", "macro_f1")
}
Fields = dict[str, Any]


@dataclass(frozen=True)
class FieldsForm(OpenForm):
    """One object with all the fields and no others; null where a record has no such value."""

    rules: Mapping[str, FieldRule]
    max_tokens: int = 512

    def json_schema(self) -> dict[str, Any]:
        """An object of the fields."""
        return object_schema(self.rules)

    def metrics(self) -> tuple[Metric, ...]:
        """The whole record, the share of right fields, precision and recall over the values that are there."""
        micro = (MICRO["micro_f1"], MICRO["micro_precision"], MICRO["micro_recall"])
        return (ACCURACY, FIELD_ACCURACY, *micro, FORMAT_ERROR_RATE, LENIENT_ACCURACY)

    def further_metrics(self) -> tuple[Metric, ...]:
        """Each field's accuracy alone, and the average of the fields' F1."""
        alone = (Metric(name=f"accuracy_{name}", row_value=f"correct:{name}") for name in self.rules)
        return (MICRO["macro_f1"], *alone, LENIENT_FORMAT_ERROR_RATE)

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "cut off", "not JSON", "extra text", "not an object", "missing field",
        "unknown field", "wrong type".

        values: what each field counts ("hits:FIELD", ..), whether it is right ("correct:FIELD"), and the share of right
        fields; of an answer with a format error none is.
        """
        text = answer_text(completion).strip()
        kind = no_answer(completion)
        found = [] if kind else json_values(text)
        objects = [value for value, _ in found if isinstance(value, dict)]
        whole = len(found) == 1 and found[0][1] == (0, len(text))
        if kind is None:
            kind = self._kind(found, objects, whole=whole, cut=completion.finish == "length")
        guess = self._recovered(objects)
        expected = self._expected(reference)
        strict = objects[0] if kind is None else None
        counted = None if expected is None else self._count(strict or {}, expected)
        lenient = None if expected is None or guess is None else self._count(guess, expected)
        score = verdict(
            None if strict is None else json_text(strict),
            kind,
            reference,
            None if guess is None else json_text(guess),
            right=counted is not None and all(one.right for one in counted.values()),
            alike=lenient is not None and all(one.right for one in lenient.values()),
        )
        return score if counted is None else msgspec.structs.replace(score, values=_values(counted, kind))

    def _kind(self, found: list[Any], objects: list[Fields], *, whole: bool, cut: bool) -> str | None:
        if not found:
            return "cut off" if cut else "not JSON"
        if not whole:
            return "extra text" if objects else "cut off" if cut else "not JSON"
        if not objects:
            return "not an object"
        value = objects[0]
        if value.keys() - self.rules.keys():
            return "unknown field"
        if self.rules.keys() - value.keys():
            return "missing field"
        return None if all(rule.fits(value[name]) for name, rule in self.rules.items()) else "wrong type"

    def _recovered(self, objects: list[Fields]) -> Fields | None:
        """The first object with a known field: fields that are missing or of a wrong type count as absent."""
        for value in objects:
            if value.keys() & self.rules.keys():
                return {n: value.get(n) if r.fits(value.get(n)) else None for n, r in self.rules.items()}
        return None

    def _expected(self, reference: str) -> Fields | None:
        parsed = parsed_json(reference) if reference else None
        return parsed[0] if parsed is not None and isinstance(parsed[0], dict) else None

    def _count(self, answer: Fields, expected: Fields) -> dict[str, Counted]:
        return {name: rule.count(answer.get(name), expected.get(name)) for name, rule in self.rules.items()}

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """An object of the fields, or JSON text of one; fields that it lacks have no value."""
        if isinstance(value, str):
            parsed = parsed_json(value)
            if parsed is None:
                raise NoReferenceError("is empty" if not value.strip() else f"'{value[:SHOWN]}' is not JSON")
            value = parsed[0]
        if is_missing(value) or not isinstance(value, dict):
            raise NoReferenceError("is empty" if is_missing(value) else f"holds {kind_of(value)}, not an object")
        value = plain_json(value)
        unknown = next((name for name in value if name not in self.rules), None)
        if unknown is not None:
            raise NoReferenceError(f"has the field '{unknown}', which is none of {', '.join(self.rules)}")
        whole = {name: rule_value(rule, value.get(name)) for name, rule in self.rules.items()}
        for name, rule in self.rules.items():
            why = rule.why_not(whole[name])
            if why is not None:
                raise NoReferenceError(f"field '{name}': {why}")
        return json_text(whole, in_order=True)


def rule_value(rule: FieldRule, value: Any) -> Any:
    """A data value as an answer would write it: numbers that a file holds as text are numbers, lists that it holds as
    JSON text are lists."""
    if isinstance(value, str) and rule.options.match in ("number", "boolean", "set", "records"):
        parsed = parsed_json(value)
        if not value.strip():
            return None
        if parsed is not None:
            return parsed[0]
        if rule.options.match == "set":
            return [part.strip() for part in value.split(",")]
        if rule.options.match == "boolean":
            return {"true": True, "yes": True, "false": False, "no": False}.get(value.strip().casefold(), value)
    return value


def _values(counted: dict[str, Counted], kind: str | None) -> dict[str, float]:
    values: dict[str, float] = {}
    right = {name: one.right and kind is None for name, one in counted.items()}
    for name, one in counted.items():
        parts = {"hits": one.hits, "references": one.references, "answers": one.answers}
        values |= {f"{part}:{name}": number for part, number in parts.items() if number}
        values[f"correct:{name}"] = float(right[name])
    return {"field_accuracy": sum(right.values()) / len(right), **values}
