"""Answers to be learned from: would the task itself call one a format error?"""

from collections.abc import Iterable

from harness.errors import UsageError
from harness.records import Completion, Sample
from harness.task import Task

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
