"""The task protocol, and checks of what a task's own methods return."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from harness.data.row import kind_of
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.metrics import Metric
from harness.records import Completion, Request, Sample, Score


@runtime_checkable
class Task(Protocol):
    """A narrow job with rows, a prompt and a verdict.

    A task is a class without constructor arguments, found by entry point (`bench.tasks`) or by path
    (`--task ./mine.py:MyTask`). See docs/write-a-task.md.
    """

    @property
    def name(self) -> str:
        """As typed after `--task`."""
        ...

    @property
    def version(self) -> str:
        """Of the parser and scoring rules; runs of different versions are not comparable."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed set of answers; empty for open answers."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The first is the headline."""
        ...

    @property
    def recipe(self) -> str:
        """The recipe that `bench train` takes when none is named."""
        ...

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """The rows of one split, in file order. Raises UsageError naming file and line of a bad row."""
        ...

    def request(self, sample: Sample) -> Request:
        """What is asked about a row. Must not depend on `sample.reference`."""
        ...

    def score(self, sample: Sample, completion: Completion) -> Score:
        """The verdict on an answer. Never called for infrastructure errors; must not raise."""
        ...

    def target(self, sample: Sample) -> str:
        """The answer a model is trained to give."""
        ...


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


NO_TARGET = "no target"
"""What is wrong with a row that the task cannot make a training target of."""


def invalid_targets(task: Task, samples: Iterable[Sample]) -> dict[str, str]:
    """Row id -> what is wrong with its target: a kind of format error that it would teach, or that there is none."""
    return {sample.id: fault for sample in samples if (fault := fault_of_target(task, sample)) is not None}


def target_of(task: Task, sample: Sample) -> str | None:
    """A row's target; None where the task cannot make one of it."""
    try:
        return task.target(sample)
    except UsageError:
        return None


def fault_of_target(task: Task, sample: Sample) -> str | None:
    """What is wrong with a row's target; None: nothing."""
    text = target_of(task, sample)
    if text is None:
        return NO_TARGET
    return task.score(sample, Completion(id=sample.id, text=text, finish="stop")).format
