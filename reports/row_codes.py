"""What became of a row, as a code: the smallest thing that pages keep of every answer."""

from harness.records import LogLine

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
