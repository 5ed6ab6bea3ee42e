"""Spans of the text with a label each, as in named-entity recognition: a JSON list of {text, label}."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from harness.data.row import is_missing, kind_of
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.records import Completion, Score
from harness.scoring.answer_forms import OpenForm
from harness.scoring.answer_reading import json_text, json_values, no_answer, parsed_json, verdict
from harness.scoring.field_rules import one_to_one
from harness.scoring.label_parsing import answer_text, read_label_spelling
from harness.scoring.references import SHOWN, NoReferenceError, label_reference, plain_json
from harness.text_normalization import comparable_text

SPAN_F1 = Metric(name="micro_f1", kind="counts", row_value="hits", proportion=False, unit="span")
OVERLAP_F1 = Metric(name="overlap_f1", kind="counts", row_value="overlaps", proportion=False, unit="span")
OTHERS = {
    name: Metric(name=name, kind="counts", row_value="hits", proportion=False, unit="span")
    for name in ("macro_f1", "micro_precision", "micro_recall")
}


class Span(NamedTuple):
    """A text and its label."""

    text: str
    label: str

    @property
    def key(self) -> tuple[str, str]:
        """As spans are compared."""
        return comparable_text(self.text), self.label


@dataclass(frozen=True)
class SpansForm(OpenForm):
    """A list of objects with exactly `text` and `label`; empty where there is none. Each mention counts once.

    all_labels: the closed set of labels; values, aliases: as for one label.
    """

    all_labels: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    max_tokens: int = 512

    def json_schema(self) -> dict[str, Any]:
        """A list of {text, label}."""
        item = {
            "type": "object",
            "properties": {"text": {"type": "string"}, "label": {"type": "string", "enum": list(self.all_labels)}},
            "required": ["text", "label"],
            "additionalProperties": False,
        }
        return {"type": "array", "items": item}

    def metrics(self) -> tuple[Metric, ...]:
        """F1 of equal spans and of overlapping ones; whether all are right."""
        return (SPAN_F1, OVERLAP_F1, ACCURACY, *OTHERS.values(), FORMAT_ERROR_RATE, LENIENT_ACCURACY)

    def further_metrics(self) -> tuple[Metric, ...]:
        """The rest of what every form has."""
        return (LENIENT_FORMAT_ERROR_RATE,)

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "cut off", "not JSON", "extra text", "not a list", "wrong item", "unknown label".

        values: hits (same text and label), overlaps (same label and a word in common, one to one), references and
        answers of every label.
        """
        text = answer_text(completion).strip()
        kind = no_answer(completion)
        found = [] if kind else json_values(text)
        whole = len(found) == 1 and found[0][1] == (0, len(text))
        lists = [value for value, _ in found if isinstance(value, list)]
        if kind is None:
            kind = self._kind(found, lists, whole=whole, cut=completion.finish == "length")
        guess = None if not lists else [span for one in lists[0] if (span := self._span(one)) is not None]
        given = guess if kind is None and guess is not None else []
        expected = self._expected(reference)
        score = verdict(
            _text(given),
            kind,
            reference,
            None if guess is None else _text(guess),
            right=_same(given, expected),
            alike=guess is not None and _same(guess, expected),
        )
        return msgspec.structs.replace(score, values=_counts(given, expected) if reference else {})

    def _kind(self, found: list[Any], lists: list[list[Any]], *, whole: bool, cut: bool) -> str | None:
        if not whole:
            return "cut off" if cut else "extra text" if lists else "not JSON"
        if not lists:
            return "not a list"
        if not all(isinstance(one, dict) and one.keys() == {"text", "label"} for one in lists[0]):
            return "wrong item"
        if not all(isinstance(one["text"], str) and isinstance(one["label"], str) for one in lists[0]):
            return "wrong item"
        return None if all(self._span(one) is not None for one in lists[0]) else "unknown label"

    def _span(self, item: Any) -> Span | None:
        """A span with one of the labels; None for anything else."""
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("text"), str)
            or not isinstance(item.get("label"), str)
        ):
            return None
        label = read_label_spelling(item["label"], self.all_labels, self.aliases)
        return None if label is None or not comparable_text(item["text"]) else Span(item["text"], label)

    def _expected(self, reference: str) -> list[Span]:
        parsed = parsed_json(reference) if reference else None
        return [Span(one["text"], one["label"]) for one in parsed[0]] if parsed is not None else []

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """A list of objects with a text and a label, or JSON text of one; other keys of theirs are left out."""
        if isinstance(value, str):
            parsed = parsed_json(value or "[]")
            if parsed is None:
                raise NoReferenceError(f"'{value[:SHOWN]}' is not JSON")
            value = parsed[0]
        if is_missing(value):
            value = []
        if not isinstance(value, list | tuple):
            raise NoReferenceError(f"holds {kind_of(value)}, not a list of {{text, label}}")
        spans = []
        for one in plain_json(list(value)):
            if not isinstance(one, dict) or not isinstance(one.get("text"), str) or "label" not in one:
                raise NoReferenceError(f"holds {json_text(one)[:SHOWN]}, which is no {{text, label}}")
            label = label_reference(one["label"], self.all_labels, {**self.aliases, **self.values}, classes)
            spans.append(Span(one["text"], label))
        return _text(spans)


def _text(spans: list[Span]) -> str:
    return json_text([{"text": span.text, "label": span.label} for span in spans], in_order=True)


def _same(given: list[Span], expected: list[Span]) -> bool:
    return Counter(span.key for span in given) == Counter(span.key for span in expected)


def _counts(given: list[Span], expected: list[Span]) -> dict[str, float]:
    mine, theirs = (Counter(span.key for span in spans) for spans in (given, expected))
    parts = {
        "hits": Counter(label for _, label in (mine & theirs).elements()),
        "overlaps": Counter(given[i].label for i, _ in _overlaps(given, expected)),
        "references": Counter(span.label for span in expected),
        "answers": Counter(span.label for span in given),
    }
    return {f"{part}:{label}": float(n) for part, labels in parts.items() for label, n in sorted(labels.items())}


def _overlaps(given: list[Span], expected: list[Span]) -> list[tuple[int, int]]:
    """Pairs of one label with a word in common, one to one, those that are most alike first."""
    pairs = []
    words = [[frozenset(comparable_text(span.text).split()) for span in spans] for spans in (given, expected)]
    for i, mine in enumerate(words[0]):
        for j, theirs in enumerate(words[1]):
            common = len(mine & theirs)
            if common and given[i].label == expected[j].label:
                pairs.append((-common / len(mine | theirs), i, j))
    return one_to_one(pairs)
