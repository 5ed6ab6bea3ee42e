"""Reading a label out of an answer: strictly (the label alone) and leniently (the one that stands in it)."""

import re
from functools import lru_cache

from harness.records import Completion, Lenient, Score

NOT_AN_ANSWER: dict[str, str] = {
    "refusal": "refusal",
    "content_filter": "content filter",
    "context_too_long": "context too long",
}
"""Finish reasons that leave no label, and the format error each counts as."""


@lru_cache(maxsize=64)
def _pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=64)
def _spelling(labels: tuple[str, ...]) -> dict[str, str]:
    return {label.casefold(): label for label in labels}


def find_labels(text: str, labels: tuple[str, ...]) -> list[str]:
    """Every label that stands in the text as a word of its own, once each, in the order of first mention."""
    spelling = _spelling(labels)
    found = (spelling.get(m.casefold()) for m in _pattern(labels).findall(text))
    return list(dict.fromkeys(label for label in found if label is not None))


def score_label(completion: Completion, reference: str, labels: tuple[str, ...]) -> Score:
    """The verdict on an answer that must be exactly one label (case and outer white space aside).

    Format errors: "empty", "no label", "several labels", "extra text", "cut off" (the length limit ended
    it before a label was whole), and refusals, filters and too long contexts under their own names.
    """
    text = completion.text.strip()
    answer = _spelling(labels).get(text.casefold())
    mentioned = find_labels(text, labels)
    guess = answer or (mentioned[0] if len(mentioned) == 1 else None)
    kind = NOT_AN_ANSWER.get(completion.finish or "")
    if kind is not None:
        return Score(correct=False, format=kind, lenient=Lenient(correct=False))
    if completion.finish == "length" and answer is None:
        kind = "cut off"
    elif answer is None:
        kind = _kind(text, mentioned)
    return Score(
        answer=answer,
        correct=answer == reference,
        format=kind,
        lenient=Lenient(answer=guess, correct=guess == reference),
    )


def _kind(text: str, mentioned: list[str]) -> str:
    if not text:
        return "empty"
    if not mentioned:
        return "no label"
    return "several labels" if len(mentioned) > 1 else "extra text"
