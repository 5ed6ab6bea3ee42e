"""Wrong answers for a page that cannot run scripts, and for paper: the first rows that somebody got wrong."""

from typing import NamedTuple

from harness.records import Key, LogLine
from harness.results import Summary
from harness.runlog import RunLog

from .answer import by_rank
from .visible import one_line

MOST = 30
TEXT = 400
"""Rows of the static list, and characters of a text in it."""


class Wrong(NamedTuple):
    """A row that at least one backend got wrong: its texts, reference, and (backend, answer, what is wrong) each."""

    n: int
    text: str
    reference: str
    answers: list[tuple[str, str, str]]


def verdict(line: LogLine | None) -> str:
    """What became of a request, in words: right, wrong, a kind of format error, or of infrastructure error."""
    if line is None:
        return "missing"
    if line.error is not None:
        return f"error: {one_line(line.error.kind)}"
    if line.score is None or line.score.correct is None:
        return "not scored" if line.score is None or line.score.format is None else f"format: {line.score.format}"
    if line.score.correct:
        return "right"
    return f"format: {one_line(line.score.format)}" if line.score.format else "wrong"


def wrong_answers(log: RunLog, summary: Summary) -> tuple[list[Wrong], int]:
    """The first MOST rows that somebody got wrong (first repeat), and how many such rows there are."""
    names = by_rank(summary)
    lines = {n: log.lines(n) for n in names}
    found: list[Wrong] = []
    total = 0
    for row in log.rows():
        given = {n: lines[n].get(Key(row.n, 0)) for n in names}
        if any(x is not None and x.score is not None and x.score.correct is False for x in given.values()):
            total += 1
            if len(found) < MOST:
                answers = [(n, one_line(x.text, TEXT) if x else "", verdict(x)) for n, x in given.items()]
                text = " / ".join(row.request.passage_texts()) or row.request.messages[-1].content
                found.append(Wrong(row.n, one_line(text, TEXT), one_line(row.sample.reference, TEXT), answers))
    return found, total
