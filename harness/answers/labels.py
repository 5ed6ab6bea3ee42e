"""Reading a label out of an answer: strictly (the label alone) and leniently (the one that stands in it)."""

from functools import lru_cache

import regex

from harness.answers.reasoning import separate_reasoning
from harness.answers.word_boundaries import as_whole_word
from harness.records import Completion, Lenient, Score
from harness.text_normalization import comparable_text

READING = "2"
"""Version of how labels, texts, patterns and JSON are read out of answers; part of the version of every task file."""

NOT_AN_ANSWER: dict[str, str] = {
    "refusal": "refusal",
    "content_filter": "content filter",
    "context_too_long": "context too long",
}
"""Finish reasons that leave no label, and the format error each counts as."""


def answer_text(completion: Completion) -> str:
    """What a completion says, without thoughts that its backend left in the text."""
    return completion.text if completion.reasoning else separate_reasoning(completion.text).answer


@lru_cache(maxsize=64)
def _pattern(labels: tuple[str, ...]) -> "regex.Pattern[str]":
    longest_first = sorted(filter(None, _spelling(labels)), key=len, reverse=True)
    return regex.compile("|".join(f"(?:{as_whole_word(label)})" for label in longest_first))


@lru_cache(maxsize=64)
def _spelling(labels: tuple[str, ...]) -> dict[str, str]:
    return {comparable_text(label): label for label in labels}


def spelled_label(text: str, labels: tuple[str, ...]) -> str | None:
    """The label that a text is, in the label's own spelling; None for any other text.

    Compared as `comparable_text` does: case, outer white space and forms of Unicode aside.
    """
    return _spelling(labels).get(comparable_text(text))


def find_labels(text: str, labels: tuple[str, ...]) -> list[str]:
    """Every label that stands in the text as a word of its own, once each, in the order of first mention.

    What a word is depends on the script (harness.answers.word_boundaries). Of labels that overlap, the longest counts.
    """
    spelling = _spelling(labels)
    found = (match["label"] for match in _pattern(labels).finditer(comparable_text(text)))
    return list(dict.fromkeys(spelling[label] for label in found))


def score_label(completion: Completion, reference: str, labels: tuple[str, ...]) -> Score:
    """The verdict on an answer that must be exactly one label (case, outer white space, forms of Unicode aside).

    Format errors: "empty", "no label", "several labels", "extra text", "cut off" (the length limit ended
    it before a label was whole), and refusals, filters and too long contexts under their own names.
    """
    text = answer_text(completion).strip()
    answer = spelled_label(text, labels)
    mentioned = [answer] if answer is not None else find_labels(text, labels)
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
    if not comparable_text(text):
        return "empty"
    if not mentioned:
        return "no label"
    return "several labels" if len(mentioned) > 1 else "extra text"
