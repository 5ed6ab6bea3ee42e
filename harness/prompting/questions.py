"""What is asked about the rows of a run: the task's own prompt, or another; with examples before it; or as a probe."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, overload

from harness.prompting.leak_probe import Probe, probe_requests
from harness.prompting.prompted import Prompted, prompt_of
from harness.prompting.shots import draw_shots, with_shots
from harness.records import Record, Request, Sample
from harness.task import Task


class Questions(Record, frozen=True, kw_only=True):
    """How rows are asked. prompt: a file with another prompt; shots: solved training rows before each question;
    probe: "blank" or "shuffle" the rows' own texts."""

    prompt: str | None = None
    shots: int = 0
    probe: Probe | None = None


class Drawn(Protocol):
    """The rows of a run, in order."""

    def __len__(self) -> int: ...
    def __getitem__(self, n: int, /) -> Sample: ...


class _Asked(Sequence[Request]):
    """The requests for the rows, each made when it is looked at."""

    def __init__(self, samples: Drawn, question: Callable[[Sample], Request]) -> None:
        self._samples, self._question = samples, question

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, n: int) -> Request: ...
    @overload
    def __getitem__(self, n: slice) -> list[Request]: ...
    def __getitem__(self, n: int | slice) -> Request | list[Request]:
        if isinstance(n, slice):
            return [self[k] for k in range(*n.indices(len(self)))]
        return self._question(self._samples[n])


def make_requests(
    questions: Questions,
    task: Task,
    ask: Callable[[Task, Sample], Request],
    samples: Drawn,
    training: Callable[[], Sequence[Sample]],
    seed: int,
) -> tuple[Iterator[Request], dict[str, Any]]:
    """The requests for the rows one by one, and what the manifest notes of how they were made.

    ask: a task's own request for a row; training: reads the training rows, called only where shots are wanted.
    Raises UsageError for a prompt that does not fit the rows, or too few training rows.
    """
    notes: dict[str, Any] = {}
    if questions.prompt is not None:
        task = Prompted(task, questions.prompt)
        notes["prompt"] = prompt_of(task)

    def question(sample: Sample) -> Request:
        return ask(task, sample)

    asked = _Asked(samples, question)
    shots = draw_shots(task, question, training(), asked, questions.shots, seed) if questions.shots else []
    requests: Iterable[Request] = asked
    if questions.probe is not None:
        requests = probe_requests(asked, questions.probe, seed)
        notes["probe"] = questions.probe
    return (with_shots(request, shots) for request in requests) if shots else iter(requests), notes
