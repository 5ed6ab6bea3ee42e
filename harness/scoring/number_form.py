"""A number: right within a tolerance; how far off it is counts too."""

import math
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.data.row import is_missing, kind_of, value_text
from harness.errors import UsageError
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.records import Completion, Score
from harness.scoring.answer_forms import OpenForm
from harness.scoring.answer_reading import no_answer, verdict
from harness.scoring.label_parsing import answer_text
from harness.scoring.references import SHOWN, NoReferenceError
from harness.text_normalization import comparable_text

RANK_CORRELATION = Metric(name="rank_correlation", kind="correlation", proportion=False)

_ONE = r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:e[-+]?\d{1,3})?"
_NUMBER = re.compile(_ONE)
_WITHIN = re.compile(rf"(?<![\w.,])(?=[-+.\d]*\d){_ONE}(?![\w]|[.,]\d)")
SLACK = 1e-9
"""Relative slack of a tolerance: 0.3 is within 0.1 of 0.2."""


class NumberOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [number].

    tolerance: an answer so far from the reference is still right. relative_tolerance: likewise, as a share of the
    reference; the wider of the two counts. low, high: the range of answers and references, both or neither: an answer
    outside of it is a format error, absolute errors then have a range, which a gate needs, and an answer without a
    number counts as the largest error. unit: what the numbers count, for display; answers may end in it.
    """

    tolerance: float = 0.0
    relative_tolerance: float = 0.0
    low: float | None = None
    high: float | None = None
    unit: str = ""


def read_number(text: str) -> float | None:
    """A text that is one number: decimal point, thousands by commas, exponent; None for any other."""
    text = comparable_text(text)
    if not any(c.isdigit() for c in text) or not text.isascii() or not _NUMBER.fullmatch(text):
        return None
    value = float(text.replace(",", ""))
    return value if math.isfinite(value) else None


def within(answer: float, reference: float, tolerance: float, relative: float) -> bool:
    """Whether a number is near enough to its reference."""
    room = max(tolerance, relative * abs(reference))
    return abs(answer - reference) <= room + SLACK * max(abs(answer), abs(reference), room)


@dataclass(frozen=True)
class NumberForm(OpenForm):
    """A number and nothing else, but for its unit."""

    options: NumberOptions
    max_tokens: int = 24

    @classmethod
    def checked(cls, options: NumberOptions, place: str) -> "NumberForm":
        """Raises UsageError for options that contradict each other."""
        low, high = options.low, options.high
        if (low is None) != (high is None) or (low is not None and high is not None and not low < high):
            raise UsageError(f"{place}: [number] low and high are the two ends of a range: give both, low below high.")
        if min(options.tolerance, options.relative_tolerance) < 0:
            raise UsageError(f"{place}: [number] a tolerance is 0 or more.")
        return cls(options)

    def json_schema(self) -> dict[str, Any]:
        """A JSON number, within the range."""
        ends = {"minimum": self.options.low, "maximum": self.options.high}
        return {"type": "number", **{k: v for k, v in ends.items() if v is not None}}

    def metrics(self) -> tuple[Metric, ...]:
        """Right within the tolerance, absolute error, rank correlation."""
        return (ACCURACY, self._absolute, RANK_CORRELATION, FORMAT_ERROR_RATE, LENIENT_ACCURACY)

    def further_metrics(self) -> tuple[Metric, ...]:
        """The error as a share of the reference has no range."""
        relative = Metric(
            name="relative_error", row_value="relative_error", direction="lower", proportion=False, low=0.0
        )
        return (relative, LENIENT_FORMAT_ERROR_RATE)

    @property
    def _absolute(self) -> Metric:
        low, high = self.options.low, self.options.high
        return Metric(
            name="absolute_error",
            row_value="absolute_error",
            direction="lower",
            proportion=False,
            low=0.0,
            high=None if low is None or high is None else high - low,
            unit=self.options.unit,
        )

    def score(self, completion: Completion, reference: str) -> Score:
        """Format errors: "empty", "cut off", "no number", "several numbers", "extra text", "out of range"."""
        text = answer_text(completion).strip()
        kind, number = no_answer(completion), self._read(text)
        found = [] if kind else [number] if number is not None else self._within(text)
        guess = found[0] if len(set(found)) == 1 else None
        if kind is None and completion.finish == "length":
            kind = "cut off"
        elif kind is None and number is None:
            kind = "extra text" if guess is not None else "several numbers" if found else "no number"
        elif kind is None and number is not None and not self._in_range(number):
            kind = "out of range"
        expected = float(reference) if reference else math.nan
        near = [value is not None and self._near(value, expected) for value in (number, guess)]
        score = verdict(_text(number), kind, reference, _text(guess), right=near[0], alike=near[1])
        return msgspec.structs.replace(score, values=self._values(None if kind else number, expected))

    def _values(self, number: float | None, expected: float) -> dict[str, float]:
        if math.isnan(expected):
            return {}
        values = {"reference_number": expected}
        if number is not None:
            values |= {"number": number, "absolute_error": abs(number - expected)}
            if expected:
                values["relative_error"] = abs(number - expected) / abs(expected)
        elif self.options.low is not None and self.options.high is not None:
            values["absolute_error"] = self.options.high - self.options.low
        return values

    def _read(self, text: str) -> float | None:
        unit = comparable_text(self.options.unit)
        bare = comparable_text(text)
        if unit and bare.endswith(unit):
            bare = bare.removesuffix(unit)
        elif unit and bare.startswith(unit):
            bare = bare.removeprefix(unit)
        return read_number(bare)

    def _within(self, text: str) -> list[float]:
        found = (read_number(match[0]) for match in _WITHIN.finditer(comparable_text(text)[:10_000]))
        return [value for value in found if value is not None]

    def _in_range(self, number: float) -> bool:
        low, high = self.options.low, self.options.high
        return low is None or high is None or low <= number <= high

    def _near(self, answer: float, reference: float) -> bool:
        return within(answer, reference, self.options.tolerance, self.options.relative_tolerance)

    def reference(self, value: Any, classes: tuple[str, ...] = ()) -> str:
        """A number, or a text that is one."""
        if isinstance(value, bool) or value_text(value) is None:
            raise NoReferenceError("is empty" if is_missing(value) else f"holds {kind_of(value)}, not a number")
        text = str(value_text(value))
        number = self._read(text)
        if number is None:
            raise NoReferenceError(f"'{text[:SHOWN]}' is not a number")
        if not self._in_range(number):
            raise NoReferenceError(f"{text} lies outside of {self.options.low:g} to {self.options.high:g}")
        return str(_text(number))


def _text(number: float | None) -> str | None:
    """A number as it is written: 12 for 12.0."""
    if number is None:
        return None
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
