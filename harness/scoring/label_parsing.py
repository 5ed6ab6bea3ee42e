"""Parsing a label from an answer: strictly (the label alone) and leniently (a label within text)."""

from collections.abc import Mapping
from functools import lru_cache

import regex

from harness.records import Completion, Lenient, Score
from harness.scoring.reasoning import separate_reasoning
from harness.text_normalization import comparable_text

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Bopomofo}\p{Yi}\p{Tibetan}\p{Line_Break=Complex_Context}"
"""Scripts that put no blank between words, where a word may be adjacent to others of its own script."""

_KATAKANA = r"\p{Katakana}\u30FC"
"""Words in katakana may be adjacent to other scripts, and are longer words where katakana continues."""

_BESIDE = rf"{_UNSPACED}{_KATAKANA}\p{{Hangul}}"
"""Characters that may be adjacent to a word of another script."""

_PARTICLES = (
    "(?:이|가|은|는|을|를|의|에|도|만|과|와|로|으로|라고|이라고|라는|이라는|이다|다|임|입니다|예요|이에요|이야|야|요|"
    "에서|에게|처럼|보다|인|일|였다|이었다|였습니다|이었습니다)"
)
"""Korean writes particles and the copula onto a noun."""

_AFTER_THAI = "\u0e30\u0e32\u0e45\u0eb0\u0eb2"
"""Thai and Lao vowels that follow their consonant and are letters to Unicode."""

_SYLLABLE_END = r"[\u1000-\u102A][\u103A\u1039]"
"""Burmese: a consonant without a vowel ends the syllable before it."""

_BOUNDED = regex.compile(rf"[\w--[{_BESIDE}]]", regex.V1)
_OF_UNSPACED = regex.compile(rf"[{_UNSPACED}]", regex.V1)
_OF_KATAKANA = regex.compile(rf"[{_KATAKANA}]", regex.V1)
_OF_HANGUL = regex.compile(r"\p{Hangul}")
_OF_DIGIT = regex.compile(r"\d")


def as_whole_word(label: str) -> str:
    """A pattern (of `regex`, with V1 sets) whose group `label` is the label, as a separate word.

    label: normalised by `comparable_text`, as must be what is searched. A label that begins or ends with punctuation
    needs no boundary there. A number is not found inside a longer one: "4" is not in "4.5", "-4" or "40"; it is in
    "4.0", which has the same value.
    """
    return f"(?V1){_before(label[:1])}(?P<label>{regex.escape(label)}){_after(label[-1:])}"


def _before(first: str) -> str:
    if _OF_DIGIT.match(first):
        return rf"(?<![\w--[{_BESIDE}]])(?<!\d[.,])(?<!(?<![\w\s])-)(?<!(?:^|\s)-)"
    if _BOUNDED.match(first):
        return rf"(?<![\w--[{_BESIDE}]])"
    if _OF_UNSPACED.match(first):
        return r"(?<!\p{Logical_Order_Exception})"
    if _OF_KATAKANA.match(first):
        return rf"(?<![{_KATAKANA}])"
    return r"(?<!\p{Hangul})" if _OF_HANGUL.match(first) else ""


def _after(last: str) -> str:
    if _OF_DIGIT.match(last):
        return rf"(?:[.,]0+)?(?![\w--[{_BESIDE}]])(?![.,]\d)"
    if _BOUNDED.match(last):
        return rf"(?![\w--[{_BESIDE}]])(?!\p{{M}})"
    if _OF_UNSPACED.match(last):
        return rf"(?!\p{{M}}|[{_AFTER_THAI}]|{_SYLLABLE_END})"
    if _OF_KATAKANA.match(last):
        return rf"(?![{_KATAKANA}])"
    return rf"(?={_PARTICLES}?(?!\p{{Hangul}}))" if _OF_HANGUL.match(last) else ""


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


def find_labels(text: str, labels: tuple[str, ...], aliases: Mapping[str, str] | None = None) -> list[str]:
    """Every label that the text contains as a separate word, once each, in the order of first mention.

    What a word is depends on the script (harness.scoring.label_parsing). Of labels that overlap, the longest counts.
    aliases: other spellings -> label.
    """
    known = (*labels, *(aliases or ()))
    spelling = _spelling(known)
    found = (spelling[match["label"]] for match in _pattern(known).finditer(comparable_text(text)))
    return list(dict.fromkeys((aliases or {}).get(one, one) for one in found))


def read_label_spelling(text: str, labels: tuple[str, ...], aliases: Mapping[str, str] | None = None) -> str | None:
    """The label that a text is, by its own spelling or an alias (other spelling -> label); None for any other text."""
    found = spelled_label(text, labels)
    if found is not None or not aliases:
        return found
    alias = spelled_label(text, tuple(aliases))
    return None if alias is None else aliases[alias]


def score_label(
    completion: Completion, reference: str, labels: tuple[str, ...], aliases: Mapping[str, str] | None = None
) -> Score:
    """The verdict on an answer that must be exactly one label (case, outer white space, forms of Unicode aside).

    aliases: other spellings that answers may use -> label. Format errors: "empty", "no label", "several labels",
    "extra text", "cut off" (the length limit ended it before a label was whole), and refusals, filters and too long
    contexts under their own names.
    """
    text = answer_text(completion).strip()
    answer = read_label_spelling(text, labels, aliases)
    mentioned = [answer] if answer is not None else find_labels(text, labels, aliases)
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
