"""Which rows a page holds, of a run with more rows than a browser can open."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.records import LogLine, Sample
from harness.runs.run_log import RunLog

MISSING, ERROR, RIGHT, WRONG, PARTLY, UNSCORED = range(6)
"""What became of a row: no line, infrastructure error, right, wrong, repeats that disagree, no right answer known."""
VERDICTS = ("missing", "error", "right", "wrong", "partly right", "not scored")


def verdict(line: LogLine | None) -> int:
    """The code of what became of one request."""
    if line is None:
        return MISSING
    if line.error is not None:
        return ERROR
    if line.score is None or line.score.correct is None:
        return UNSCORED
    return RIGHT if line.score.correct else WRONG


def kind(line: LogLine) -> str | None:
    """The kind of infrastructure error, else of format error, else None."""
    if line.error is not None:
        return line.error.kind
    return None if line.score is None else line.score.format


MOST_ROWS = 100_000
"""Rows of a page: with four backends about 20 MB, which browsers open in seconds."""

SAMPLE_SHARE = 4
"""One in so many of a page's rows is taken as they come, whatever became of it."""


class RowSelection(NamedTuple):
    """The rows of a run that a page holds.

    positions: (k,) theirs in the run, ascending. rows: of the run. wrong: of these, rows that any backend got wrong or
    answered in a wrong form.
    """

    positions: NDArray[np.int64]
    rows: int
    wrong: int

    def places(self) -> dict[int, int]:
        """Position in the run to place on the page."""
        return {int(n): k for k, n in enumerate(self.positions)}


def select_rows(log: RunLog, backends: Iterable[str], most: int = MOST_ROWS) -> RowSelection | None:
    """The rows that a page of this run holds; None where it holds all.

    The first rows of the run's random order are a random sample and fill a quarter of the page; rows that any backend
    did not get right follow, in the same order, then others. Logs are read file by file, a few bytes a row are kept.
    """
    rows = log.manifest.rows
    if rows <= most:
        return None
    disputed, wrong = np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.bool_)
    for name in backends:
        verdicts, malformed = _verdicts(log, name)
        disputed |= verdicts != RIGHT
        wrong |= (verdicts == WRONG) | (verdicts == PARTLY) | ((verdicts == UNSCORED) & malformed)
    chosen = np.zeros(rows, dtype=np.bool_)
    chosen[: most // SAMPLE_SHARE] = True
    chosen[np.flatnonzero(disputed & ~chosen)[: most - int(chosen.sum())]] = True
    chosen[np.flatnonzero(~chosen)[: most - int(chosen.sum())]] = True
    return RowSelection(np.flatnonzero(chosen), rows, int(wrong.sum()))


def rows_that(log: RunLog, wanted: Callable[[Sample], bool]) -> RowSelection:
    """The rows of a run of which `wanted` is true; how many were wrong is not counted (0)."""
    positions = [row.n for row in log.rows() if wanted(row.sample)]
    return RowSelection(np.array(positions, dtype=np.int64), log.manifest.rows, 0)


def _verdicts(log: RunLog, backend: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(rows,) what became of each row, over its repeats; (rows,) whether its first answer has a format error."""
    rows = log.manifest.rows
    first = np.full(rows, MISSING, dtype=np.uint8)
    right, wrong, malformed = (np.zeros(rows, dtype=np.bool_) for _ in range(3))
    for line in log.backend_log(backend).each_last():
        code = verdict(line)
        right[line.n] |= code == RIGHT
        wrong[line.n] |= code == WRONG
        if line.repeat == 0:
            first[line.n] = code
            malformed[line.n] = code != ERROR and kind(line) is not None
    first[right & wrong] = PARTLY
    return first, malformed
