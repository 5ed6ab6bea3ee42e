"""What a task's own methods return, checked before it is written or counted: texts must be texts."""

from collections.abc import Iterable, Iterator
from typing import Any

from harness.data.rows import DataSource
from harness.data.values import kind_of
from harness.errors import UsageError
from harness.records import Request, Sample, Score
from harness.task import Task


def samples_of(task: Task, source: DataSource) -> Iterator[Sample]:
    """The rows of one split. Raises UsageError for a row that is no Sample, or holds what is no text."""
    rows: Iterable[Any] = task.samples(source)
    for number, row in enumerate(rows, 1):
        problem = _of_sample(row)
        if problem is not None:
            raise UsageError(f"task '{task.name}': samples(): row {number} of the split '{source.split}': {problem}.")
        yield row


def request_of(task: Task, sample: Sample) -> Request:
    """What is asked about a row. Raises UsageError for what is no Request, has another row's id, or is no text."""
    request: Any = task.request(sample)
    problem = None
    if not isinstance(request, Request):
        problem = f"returns {_a(request)}, not a Request"
    elif request.id != sample.id:
        problem = f"the request carries the id {request.id}, not the row's own (write Request(id=sample.id, ..))"
    else:
        odd = next((m.content for m in request.messages if not isinstance(m.content, str)), None)
        problem = None if odd is None else f"a message holds {_a(odd)}, not text"
    if problem is not None:
        raise UsageError(f"task '{task.name}': request(): row {sample.id}: {problem}.")
    assert isinstance(request, Request)
    return request


def score_of(task: Task, sample: Sample, score: Any) -> Score:
    """A verdict as a task gave it. Raises UsageError for what is no Score."""
    if isinstance(score, Score):
        if score.answer is None or isinstance(score.answer, str):
            return score
        problem = f"the answer is {_a(score.answer)}, not text"
    else:
        problem = f"returns {_a(score)}, not a Score"
    raise UsageError(f"task '{task.name}': score(): row {sample.id}: {problem}.")


def _of_sample(row: Any) -> str | None:
    """What is wrong with a row; None: nothing."""
    if not isinstance(row, Sample):
        return f"it is {_a(row)}, not a Sample"
    named = [*(("input", k, v) for k, v in row.inputs.items()), *(("column", k, v) for k, v in row.columns.items())]
    for what, name, value in named:
        if not isinstance(value, str):
            return f"{what} '{name}' holds {_a(value)}, not text (write str(..), or leave it out)"
    if not isinstance(row.reference, str):
        return f"the reference is {_a(row.reference)}, not text"
    if not (row.group is None or isinstance(row.group, str)):
        return f"the group is {_a(row.group)}, not text"
    return None


def _a(value: Any) -> str:
    """A value's kind, in words."""
    kind = kind_of(value)
    return kind if " " in kind or kind == "bytes" else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
