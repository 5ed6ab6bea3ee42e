"""The task protocol: five things a task says, and nothing about models."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from harness.data.rows import DataSource
from harness.metrics import Metric
from harness.records import Completion, Request, Sample, Score


@runtime_checkable
class Task(Protocol):
    """A narrow job with rows, a prompt and a verdict.

    A task is a class without constructor arguments, found by entry point (`bench.tasks`) or by path
    (`--task ./mine.py:MyTask`). See docs/write-a-task.md.
    """

    name: str
    """As typed after `--task`."""

    version: str
    """Of the parser and scoring rules; runs of different versions are not comparable."""

    labels: tuple[str, ...]
    """The closed set of answers; empty for open answers."""

    metrics: tuple[Metric, ...]
    """The first is the headline."""

    recipe: str
    """The recipe that `bench train` takes when none is named."""

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
