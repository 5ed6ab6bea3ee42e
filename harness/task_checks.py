"""What every task must keep, checked on its own rows: for the author of a task, and for tests."""

import msgspec

from harness.data.rows import DataSource
from harness.errors import BenchError, UsageError
from harness.records import Completion, Sample
from harness.task import Task
from harness.task_loading import build_request, load_rows

JUNK = ("", " ", "\0", "I cannot say.", "[" * 2000, '{"a": [1,', "1" * 5000, "\ud800", "é" * 100)
"""Answers that a model has given, or will."""

MOST = 200
"""Rows looked at of each split."""


def task_problems(task: Task, location: str | None = None, splits: tuple[str, ...] = ("train", "test")) -> list[str]:
    """Sentences on what is wrong with a task; none: it keeps its promises on the rows looked at.

    Rows are there; a request depends neither on the reference nor on the columns, and marks the row's own texts;
    the target is a well formed and right answer; no answer makes the scoring raise.
    """
    problems: list[str] = []
    for split in splits:
        try:
            rows = load_rows(task, DataSource(location=location, split=split))[:MOST]
        except BenchError as error:
            problems.append(f"{split}: {error}")
            continue
        for row in rows:
            found = _of_request(task, row) or _of_target(task, row) or _of_junk(task, row)
            if found:
                problems.append(f"{split}: row {row.id}: {found}")
                break
    return problems


def _of_request(task: Task, row: Sample) -> str | None:
    try:
        request = build_request(task, row)
    except BenchError as error:
        return str(error)
    other = msgspec.structs.replace(row, reference="another", columns={})
    if task.request(row).hash() != request.hash() or task.request(other).hash() != request.hash():
        return "the request depends on the reference or on the columns: gold text reaches the prompt."
    if not any(text.strip() for text in request.passage_texts()):
        return "no passage marks the row's own text in the prompt."
    own = " ".join(row.inputs.values())
    strange = next((t for t in request.passage_texts() if not set(t.split()) <= set(own.split())), None)
    if strange is not None:
        return f"a passage marks '{strange[:40]}', which is not a text of the row."
    if request.messages[-1].content != request.messages[-1].content.rstrip():
        return "the prompt ends in white space, which answers begin with."
    return None


def _of_target(task: Task, row: Sample) -> str | None:
    try:
        target = task.target(row)
    except UsageError as error:  # a row that nobody trains on needs no target
        return f"it has no target: {error}" if row.split == "train" else None
    score = task.score(row, Completion(id=row.id, text=target, finish="stop"))
    if score.format is not None:
        return f"its own target is a format error ({score.format}): '{target[:60]}'."
    if score.correct is False:
        return f"its own target is scored as wrong: '{target[:60]}'."
    return None


def _of_junk(task: Task, row: Sample) -> str | None:
    for text in JUNK:
        try:
            score = task.score(row, Completion(id=row.id, text=text, finish="stop"))
        except Exception as error:  # whatever a stranger's scoring raises is what we look for
            return f"the answer {text[:20]!r} makes the scoring raise {type(error).__name__}: {error}."
        if score.correct is True and row.reference not in (text.strip(), score.answer):
            return f"the answer {text[:20]!r} is scored as right."
    return None
