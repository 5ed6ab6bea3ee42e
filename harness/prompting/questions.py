"""What is asked about the rows of a run: the task's own prompt, or another; with examples before it; or as a probe."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.prompting.leak_probe import Probe, probe_requests
from harness.prompting.shots import Shot, draw_shots, with_shots
from harness.records import Record, Request, Sample
from harness.task import Task


class Questions(Record, frozen=True, kw_only=True):
    """How rows are asked. prompt: a file with another prompt; shots: solved training rows before each question;
    probe: "blank" or "shuffle" the rows' own texts."""

    prompt: str | None = None
    shots: int = 0
    probe: Probe | None = None


def make_requests(
    questions: Questions,
    task: Task,
    ask: Callable[[Sample], Request],
    samples: Sequence[Sample],
    training: Callable[[], Sequence[Sample]],
    seed: int,
) -> tuple[list[Request], dict[str, Any]]:
    """The requests for the rows, and what the manifest notes of how they were made.

    ask: the task's own request for a row; training: reads the training rows, called only where shots are wanted.
    Raises UsageError for a prompt that does not fit the rows, or too few training rows.
    """
    notes: dict[str, Any] = {}
    question = ask
    if questions.prompt is not None:
        from harness.prompting.prompts import PromptTemplate  # brings jinja2

        template = PromptTemplate.load(Path(questions.prompt))
        notes["prompt"] = {"file": questions.prompt, "sha256": template.hash}

        def question(sample: Sample) -> Request:
            return template.apply(ask(sample), sample.inputs)

    requests = [question(sample) for sample in samples]
    shots: list[Shot] = []
    if questions.shots:
        shots = draw_shots(task, question, training(), requests, questions.shots, seed)
    if questions.probe is not None:
        requests = probe_requests(requests, questions.probe, seed)
        notes["probe"] = questions.probe
    return [with_shots(request, shots) for request in requests] if shots else requests, notes
