"""Numbers in sentences: a noun that agrees with its count, and figures no more exact than what they are."""

import math

IRREGULAR = {"is": "are", "has": "have", "was": "were", "this": "these", "it": "they"}


def count_noun(count: int | float, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`, `1,500 rows`, `0.5 points`; plural: where it is not the noun and an s."""
    return f"{count:,} {agreeing(count, noun, plural)}"


def agreeing(count: int | float, word: str, plural: str | None = None) -> str:
    """A word as it stands beside a count: `row` for 1, else its plural (verbs and pronouns too: `is`, `are`)."""
    if count == 1:
        return word
    return plural or IRREGULAR.get(word) or (word[:-1] + "ies" if word.endswith("ry") else f"{word}s")


def two_digits(count: float) -> str:
    """A figure that is an estimate, to two significant digits: 146073 is `150,000`."""
    if not math.isfinite(count) or count == 0:
        return f"{count:,.0f}"
    step = 10 ** max(0, math.floor(math.log10(abs(count))) - 1)
    return f"{math.ceil(round(count / step, 9)) * step:,.0f}"
