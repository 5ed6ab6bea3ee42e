"""From the name of a task to its rows and requests: what runs, trainers and checks all begin with."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.data.rows import DataSource, DataWarning
from harness.errors import BenchError, UsageError
from harness.records import Request, Sample, number_repeats
from harness.registry import TASKS, find
from harness.task import Task, request_of, samples_of
from harness.user_code import fault_of_users_code


def load_task(spec: str) -> Task:
    """The task of a registered name, a class by path (`./file.py:Class`, `package:Class`), or a TOML file.

    Raises UsageError for an unknown name, a class that is no task, or a file that is not right.
    """
    if spec.endswith(".toml"):
        from harness.task_file import FileTask  # brings jinja2 and jsonschema

        return FileTask(Path(spec))
    task_class = find(TASKS, spec)
    try:
        task = task_class()
    except BenchError:
        raise
    except Exception as error:
        cause = fault_of_users_code(error) or f"{type(error).__name__}: {error}"
        raise UsageError(f"task '{spec}' cannot be constructed: {cause}.") from error
    if not isinstance(task, Task):
        members = [*Task.__annotations__, *(n for n in vars(Task) if not n.startswith("_"))]
        missing = [n for n in members if not hasattr(task, n)]
        raise UsageError(f"'{spec}' is not a task: it has no {', '.join(missing)} (see docs/write-a-task.md).")
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
