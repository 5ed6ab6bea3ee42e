"""From the name of a task to its rows and requests, and the checks that every task must pass."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.data.rows import DataSource, DataWarning
from harness.errors import BenchError, UsageError
from harness.records import Completion, Request, Sample, number_repeats
from harness.registry import TASKS, fault_of_users_code, find, remember_spec
from harness.task import Task, request_of, samples_of


def load_task(spec: str) -> Task:
    """The task of a registered name, a class by path (`./file.py:Class`, `package:Class`), or a TOML file.

    Raises UsageError for an unknown name, a class that is no task, or a file that is not right.
    """
    if spec.endswith(".toml"):
        from harness.task_file import FileTask  # brings jinja2 and jsonschema

        task: Task = FileTask(Path(spec))
        remember_spec(task, spec)
        return task
    found = find(TASKS, spec)
    try:
        task = found() if isinstance(found, type) else found
    except BenchError:
        raise
    except Exception as error:
        cause = fault_of_users_code(error) or f"{type(error).__name__}: {error}"
        raise UsageError(f"task '{spec}' cannot be constructed: {cause}.") from error
    if not isinstance(task, Task):
        members = [*Task.__annotations__, *(n for n in vars(Task) if not n.startswith("_"))]
        missing = [n for n in members if not hasattr(task, n)]
        raise UsageError(f"'{spec}' is not a task: it has no {', '.join(missing)} (see docs/write-a-task.md).")
    remember_spec(task, spec)
    return task


def load_rows(task: Task, source: DataSource) -> list[Sample]:
    """All rows of a split, ids numbered. Raises UsageError where there are none."""
    samples = list(number_repeats(samples_of(task, source)))
    require_rows(len(samples), task, source)
    return samples


def read_rows(task: Task, source: DataSource) -> tuple[list[Sample], list[str]]:
    """All rows of a split, and the reader's warnings about rows that it left out."""
    with collect_data_warnings() as messages:
        rows = load_rows(task, source)
    return rows, messages


def require_rows(rows: int, task: Task, source: DataSource) -> None:
    """Raises UsageError where a split holds no rows."""
    if not rows:
        location = source.location or "the data set"
        raise UsageError(f"{location}: the split '{source.split}' of task '{task.name}' holds no rows.")


@contextmanager
def collect_data_warnings() -> Iterator[list[str]]:
    """The messages of every DataWarning of the block, filled in when the block ends; other warnings pass through."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        yield messages
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            messages.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def build_request(task: Task, sample: Sample) -> Request:
    """The request for a row. The task receives the row without its reference: no gold text can reach a prompt.

    Raises UsageError for a request under another id: its answer would be taken for another row's.
    """
    return request_of(task, msgspec.structs.replace(sample, reference="", columns={}))


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
