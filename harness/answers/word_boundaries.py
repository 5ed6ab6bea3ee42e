"""Where a label may begin and end inside a text, in scripts with and without blanks between words.

Bench brings no dictionaries, so words of scripts that write none apart (Chinese, Japanese, Thai, Lao, Khmer, Burmese)
are found as runs of characters; what Unicode knows keeps them from being cut inside a syllable: combining marks, vowels
written before or after their consonant. A change of script ends a word, as in "Antwort" beside Han characters.
Sources: Unicode Standard Annex #29 (text segmentation: words are script runs, with dictionaries for the class
Complex_Context) and the properties Script, Line_Break and Logical_Order_Exception.
"""

import regex

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Bopomofo}\p{Yi}\p{Tibetan}\p{Line_Break=Complex_Context}"
"""Scripts that put no blank between words, where a word may stand beside others of its own script."""

_KATAKANA = r"\p{Katakana}\u30FC"
"""Words in katakana stand beside other scripts, and are longer words where katakana goes on."""

_BESIDE = rf"{_UNSPACED}{_KATAKANA}\p{{Hangul}}"
"""Characters that may stand right beside a word of another script."""

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
    """A pattern (of `regex`, with V1 sets) whose group `label` is the label, standing as a word of its own.

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
