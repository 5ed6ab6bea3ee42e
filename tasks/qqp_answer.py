"""Reading a duplicate verdict out of an answer: 0 (dissimilar) or 1 (similar), alone or behind an explanation."""

import re

from harness.answers.labels import NOT_AN_ANSWER, answer_text
from harness.records import Completion, Lenient, Record, Score
from harness.text_normalization import canonical_text, comparable_text

LABELS = ("0", "1")

_NUMBER = re.compile(r"(?<![\w.,])[-+]?[0-9]+(?:[.,][0-9]+)?(?!\w)")
_LINE = re.compile(r"^[ \t]*label[ \t]*:[ \t]*(\S*)[ \t]*", re.IGNORECASE | re.MULTILINE)
_SAYS_NO = re.compile(
    r"(?:\b(?:not|no|cannot)|n['\u2019]t)\b.{0,20}\b(?:duplicates?|similar|same)\b|\bdissimilar\b", re.I
)
_SAYS_YES = re.compile(r"\b(?:duplicates?|similar|same)\b", re.I)


class Reading(Record, frozen=True, kw_only=True):
    """`strict`: the label of a well formed answer (else `kind` says what is wrong); `lenient`: as guessed."""

    strict: str | None = None
    kind: str | None = None
    lenient: str | None = None


def read_alone(text: str, *, cut: bool = False) -> Reading:
    """An answer that must be the label and nothing else; never raises.

    Kinds: "no label", "label outside 0/1", "several labels", "text before the label", "text after the label",
    "cut off" (the length limit ended it before a label stood).
    """
    text = canonical_text(text).strip()
    label = comparable_text(text)
    if label in LABELS:
        return Reading(strict=label, lenient=label)
    numbers = _NUMBER.findall(text)
    labels = set(numbers) & set(LABELS)
    lenient = labels.pop() if len(labels) == 1 else None if labels else _in_words(text)
    if len(set(numbers) & set(LABELS)) > 1:
        kind = "several labels"
    elif lenient in numbers:
        kind = "text after the label" if text.startswith(str(lenient)) else "text before the label"
    elif cut:
        kind = "cut off"
    else:
        kind = "label outside 0/1" if numbers else "no label"
    return Reading(kind=kind, lenient=lenient)


def read_explained(text: str, *, cut: bool = False) -> Reading:
    """An explanation and, as its last line, `Label: 0` or `Label: 1`; never raises. Kinds as in `read_alone`."""
    text = canonical_text(text).strip()
    lines = list(_LINE.finditer(text))
    values = [m.group(1) for m in lines]
    if len(values) == 1 and values[0] in LABELS and lines[0].end() == len(text):
        return Reading(strict=values[0], lenient=values[0])
    last = text.splitlines()[-1] if text else ""
    labels = set(values) & set(LABELS)
    lenient = labels.pop() if len(labels) == 1 else None if labels else read_alone(last).lenient
    if len(values) > 1:
        kind = "several labels"
    elif not values or not values[0]:
        kind = "cut off" if cut else "no label"
    elif values[0] in LABELS:
        kind = "text after the label"
    else:
        kind = "label outside 0/1"
    return Reading(kind=kind, lenient=lenient)


def _in_words(text: str) -> str | None:
    if _SAYS_NO.search(text):
        return "0"
    return "1" if _SAYS_YES.search(text) else None


def score_verdict(completion: Completion, reference: str, *, explained: bool) -> Score:
    """The verdict on an answer; refusals, filters and too long contexts are wrong, under their own names."""
    kind = NOT_AN_ANSWER.get(completion.finish or "")
    if kind is not None:
        return Score(correct=False, format=kind, lenient=Lenient(correct=False))
    read = read_explained if explained else read_alone
    reading = read(answer_text(completion), cut=completion.finish == "length")
    return Score(
        answer=reading.strict,
        correct=reading.strict == reference,
        format=reading.kind,
        lenient=Lenient(answer=reading.lenient, correct=reading.lenient == reference),
    )
