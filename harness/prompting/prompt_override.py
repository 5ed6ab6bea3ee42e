"""A task asked with another prompt than its own; everything else stays the task's."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.data.rows import DataSource
from harness.records import Completion, Request, Sample, Score
from harness.task import Task


class Prompted:
    """`task` whose requests carry the messages of a prompt file (`--prompt`); rows, scoring and targets are its own.

    `prompt` is what a manifest notes: {"file", "sha256"}. Raises UsageError for a file that is no prompt, and from
    `request` for a prompt that names what a row does not have.
    """

    def __init__(self, task: Task, file: str) -> None:
        from harness.prompting.templates import PromptTemplate  # loads jinja2

        self._task = task
        self._template = PromptTemplate.load(Path(file))
        self.prompt: dict[str, Any] = {"file": file, "sha256": self._template.hash}
        self.name, self.version, self.recipe = task.name, task.version, task.recipe
        self.labels, self.metrics = task.labels, task.metrics

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """The task's rows."""
        return self._task.samples(source)

    def request(self, sample: Sample) -> Request:
        """The task's request with the other prompt's messages."""
        return self._template.apply(self._task.request(sample), sample.inputs)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """The task's verdict."""
        return self._task.score(sample, completion)

    def target(self, sample: Sample) -> str:
        """The task's target."""
        return self._task.target(sample)


def prompt_of(task: Task) -> dict[str, Any] | None:
    """The other prompt that a task is asked with, as a manifest notes it; None for its own."""
    return task.prompt if isinstance(task, Prompted) else None
