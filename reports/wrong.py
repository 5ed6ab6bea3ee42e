"""Wrong answers for a page that cannot run scripts, and for paper: the first rows that somebody got wrong."""

from typing import NamedTuple

from .rowbook import PARTLY, RIGHT, UNSCORED, VERDICTS, WRONG, Answers, RowBook
from .visible import one_line

MOST = 30
TEXT = 400
"""Rows of the static list, and characters of a text in it."""


class Given(NamedTuple):
    """One backend's answer to a row: its text, the verdict in words, and whether it was right."""

    backend: str
    text: str
    verdict: str
    right: bool


class Wrong(NamedTuple):
    """A row that at least one backend got wrong."""

    n: int
    text: str
    reference: str
    answers: list[Given]


def wrong_answers(book: RowBook) -> tuple[list[Wrong], int]:
    """The first MOST rows that somebody got wrong or answered in a wrong form, and how many such rows there are."""
    rows = [n for n in range(len(book)) if any(_is_wrong(answers, n) for answers in book.answers.values())]
    return [_wrong(book, n) for n in rows[:MOST]], len(rows)


def _is_wrong(answers: Answers, n: int) -> bool:
    code = answers.verdicts[n]
    return code in (WRONG, PARTLY) or (code == UNSCORED and answers.kinds.codes[n] >= 0)


def _wrong(book: RowBook, n: int) -> Wrong:
    own = book.own[n] or [book.frames[book.frame_codes[n]].pieces[-1][-1]]
    answers = []
    for name, found in book.answers.items():
        kind = found.kinds.text(n)
        verdict = VERDICTS[found.verdicts[n]] + (f" ({kind})" if kind else "")
        answers.append(Given(name, one_line(found.texts.text(n) or "", TEXT), verdict, found.verdicts[n] == RIGHT))
    return Wrong(n, one_line(" / ".join(own), TEXT), one_line(book.references.text(n) or "", TEXT), answers)
