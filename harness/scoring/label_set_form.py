"""Answers from a closed set: any number of labels, or one of an ordered scale."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.data.row import is_missing, kind_of, value_text
from harness.metrics import (
    ACCURACY,
    CLASSIFICATION,
    FORMAT_ERROR_RATE,
    LENIENT_ACCURACY,
    LENIENT_FORMAT_ERROR_RATE,
    MACRO_F1,
    MICRO_F1,
    Metric,
)
from harness.records import Completion, Score
from harness.scoring.answer_forms import LabelForm, OpenForm
from harness.scoring.answer_reading import no_answer, parsed_json, verdict
from harness.scoring.label_parsing import answer_text, find_labels, read_label_spelling
from harness.scoring.number_form import RANK_CORRELATION
from harness.scoring.references import SHOWN, NoReferenceError, label_reference
from harness.text_normalization import comparable_text

JACCARD = Metric(name="jaccard", row_value="jaccard", proportion=False, low=0.0, high=1.0)
MACRO_F1_OF_SETS = Metric(name="macro_f1", kind="counts", row_value="hits", proportion=False, unit="label")
MICRO_PRECISION = Metric(name="micro_precision", kind="counts", row_value="hits", proportion=False, unit="label")
MICRO_RECALL = Metric(name="micro_recall", kind="counts", row_value="hits", proportion=False, unit="label")

_SEPARATED = re.compile(r"[,;|\n]")
"""What separates the labels of a data value."""


def counted(hits: Iterable[str], references: Iterable[str], answers: Iterable[str]) -> dict[str, float]:
    """`Score.values` of kind "counts": hits, references and answers of every label that has any."""
    values: dict[str, float] = {}
    for part, labels in (("hits", hits), ("references", references), ("answers", answers)):
        for label in sorted(labels):
            values[f"{part}:{label}"] = values.get(f"{part}:{label}", 0.0) + 1.0
    return values


@dataclass(frozen=True)
class LabelSetForm(OpenForm):
    """Labels separated by commas, in any order and without repetition, or `none`; a JSON list of them as well.

    all_labels: the closed set. values: label for each value that the data holds in its place; aliases: label for each
    other spelling. none: the answer that stands for no label at all.
    """

    all_labels: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    none: str = "none"

    def metrics(self) -> tuple[Metric, ...]:
        """The exact set, F1 over all labels and by label, overlap of the sets."""
        return (ACCURACY, MICRO_F1, MACRO_F1_OF_SETS, JACCARD, FORMAT_ERROR_RATE, LENIENT_ACCURACY)

    def further_metrics(self) -> tuple[Metric, ...]:
        """Micro averages."""
        return (MICRO_PRECISION, MICRO_RECALL, LENIENT_FORMAT_ERROR_RATE)

    def json_schema(self) -> dict[str, Any]:
        """A JSON list of labels."""
        return {
            "type": "array",
            "items": {"type": "string", "enum": list(self.all_labels)},
            "uniqueItems": True,
            "maxItems": len(self.all_labels),
        }

    @property
    def max_tokens(self) -> int:
        """Room for ten of the longest labels."""
        longest = max(len(label.encode()) for label in (*self.all_labels, self.none))
        return 8 + min(10, len(self.all_labels)) * (longest + 4)

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "cut off", "no label", "unknown label", "repeated label", "extra text"."""
        text = answer_text(completion).strip()
        kind = no_answer(completion)
        parts = None if kind else self._parts(text)
        found = [] if parts is None else [read_label_spelling(part, self.all_labels, self.aliases) for part in parts]
        labels = [label for label in found if label is not None]
        guess = labels if parts is not None and len(labels) == len(found) else self._mentioned(text)
        if kind is None:
            kind = self._kind(found, guess, cut=completion.finish == "length")
        expected = self._set(reference)
        strict = frozenset(labels) if kind is None else frozenset()
        score = verdict(
            self._text(labels),
            kind,
            reference,
            None if guess is None else self._text(guess),
            right=strict == expected,
            alike=guess is not None and frozenset(guess) == expected,
        )
        return _with(score, kind, strict, expected)

    def _parts(self, text: str) -> list[str]:
        """The labels that an answer gives, as it spells them."""
        if comparable_text(text) == comparable_text(self.none):
            return []
        value = parsed_json(text) if text.startswith("[") else None
        if value is not None and isinstance(value[0], list) and all(isinstance(one, str) for one in value[0]):
            return list(value[0])
        if read_label_spelling(text, self.all_labels, self.aliases) is not None:
            return [text]  # a label with a comma in it
        return [part.strip() for part in text.split(",")]

    def _mentioned(self, text: str) -> list[str] | None:
        """Labels that a text names anywhere; none at all where it names only that; None where it names nothing."""
        found = find_labels(text, (*self.all_labels, self.none), self.aliases)
        labels = [label for label in found if label != self.none]
        return labels or ([] if found else None)

    def _kind(self, found: list[str | None], guess: list[str] | None, *, cut: bool) -> str | None:
        if cut:
            return "cut off"
        known = [label for label in found if label is not None]
        if len(known) == len(found):
            return "repeated label" if len(set(known)) < len(known) else None
        if guess is None:
            return "no label"
        return "unknown label" if known else "extra text"

    def _set(self, reference: str) -> frozenset[str]:
        return frozenset(filter(None, (read_label_spelling(p, self.all_labels) for p in self._parts(reference))))

    def _text(self, labels: Iterable[str]) -> str:
        """Labels in the order of the closed set."""
        given = frozenset(labels)
        return ", ".join(label for label in self.all_labels if label in given) or self.none

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """A list of labels; or text that separates them by commas, semicolons, vertical bars or lines, or is a JSON
        list; nothing, an empty list and `none` are no label at all."""
        if is_missing(value):
            return self.none
        if not isinstance(value, list | tuple):
            value = self._of_text(value_text(value), value)
        labels = [label_reference(one, self.all_labels, {**self.aliases, **self.values}, classes) for one in value]
        if len(set(labels)) < len(labels):
            raise NoReferenceError(f"names '{next(x for x in labels if labels.count(x) > 1)}' twice")
        return self._text(labels)

    def _of_text(self, text: str | None, value: Any) -> list[Any]:
        if text is None:
            raise NoReferenceError(f"holds {kind_of(value)}, not labels")
        if comparable_text(text) in ("", comparable_text(self.none)):
            return []
        if text.strip().startswith("["):
            parsed = parsed_json(text)
            if parsed is None or not isinstance(parsed[0], list):
                raise NoReferenceError(f"'{text[:SHOWN]}' is no JSON list of labels")
            return parsed[0]
        known = {comparable_text(one) for one in (*self.all_labels, *self.aliases, *self.values)}
        return [text] if comparable_text(text) in known else [part for part in _SEPARATED.split(text) if part.strip()]


def _with(score: Score, kind: str | None, strict: frozenset[str], expected: frozenset[str]) -> Score:
    together = strict | expected
    jaccard = len(strict & expected) / len(together) if together else 1.0
    values = counted(strict & expected, expected, strict)
    return msgspec.structs.replace(score, values={"jaccard": 0.0 if kind else jaccard, **values})


QUADRATIC_KAPPA = Metric(name="quadratic_kappa", kind="correlation", proportion=False)
WITHIN_ONE = Metric(name="within_one", row_value="within_one")


@dataclass(frozen=True)
class OrdinalForm(LabelForm):
    """The labels are levels 0, 1, ..; an answer without a label is as far from its reference as a level can be."""

    def metrics(self) -> tuple[Metric, ...]:
        """Right, off by one at most, levels off, kappa."""
        return (
            ACCURACY,
            QUADRATIC_KAPPA,
            WITHIN_ONE,
            self._level_error,
            FORMAT_ERROR_RATE,
            LENIENT_ACCURACY,
            MACRO_F1,
        )

    def further_metrics(self) -> tuple[Metric, ...]:
        """Those of any label, and the rank correlation."""
        return (RANK_CORRELATION, *CLASSIFICATION)

    @property
    def _level_error(self) -> Metric:
        return Metric(
            name="level_error",
            row_value="level_error",
            direction="lower",
            proportion=False,
            low=0.0,
            high=float(len(self.labels) - 1),
            unit="levels",
        )

    def score(self, completion: Completion, reference: str) -> Score:
        """As for any label; values: "number" and "reference_number" are the levels."""
        score = super().score(completion, reference)
        if not reference:
            return score
        last, expected = len(self.labels) - 1, self.labels.index(reference)
        given = self.labels.index(score.answer) if score.answer is not None and score.format is None else None
        off = max(expected, last - expected) if given is None else abs(given - expected)
        values = {"reference_number": float(expected), "level_error": float(off), "within_one": float(off <= 1)}
        if given is None:
            values["within_one"] = 0.0
        else:
            values["number"] = float(given)
        return msgspec.structs.replace(score, values=values)
