"""Variants of the prompts of a run: another template, few-shot examples, leak probes."""

import hashlib
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, overload

import msgspec

from harness.data.rows import DataSource
from harness.data.sampling import seeded_order
from harness.errors import UsageError
from harness.prompting.chat_rendering import cut_passages
from harness.records import Completion, InputSpan, Message, Request, Sample, Score
from harness.run_options import Probe, RunOptions
from harness.task import Task, fault_of_target
from harness.text_normalization import comparable_text


class Prompted:
    """`task` whose requests carry the messages of a prompt file (`--prompt`); rows, scoring and targets are its own.

    `prompt` is what a manifest notes: {"file", "sha256"}. Raises UsageError for a file that is no prompt, and from
    `request` for a prompt that names what a row does not have.
    """

    def __init__(self, task: Task, file: str) -> None:
        from harness.prompting.templates import PromptTemplate  # loads jinja2

        self._task = task
        self._template = PromptTemplate.load(Path(file), getattr(task, "constants", None))
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


Shot = tuple[Request, str]
"""A solved row: what is asked about it, and the answer."""


def draw_shots(
    task: Task,
    request_for: Callable[[Sample], Request],
    training: Iterable[Sample],
    asked: Iterable[Request],
    count: int,
    seed: int,
) -> list[Shot]:
    """The first `count` rows, in their seeded order (so with their classes' shares), that no evaluated row resembles.

    request_for: builds the request for a row. A row that shares a text with an evaluated one is passed over: its answer
    would be in that one's prompt. So is one whose own target is invalid: it would show a format error as the answer.
    Raises UsageError where too few are left.
    """
    import numpy as np

    evaluated = np.unique(np.fromiter((h for request in asked for h in _hashes(request)), dtype=np.uint64))

    def stands_alone(sample: Sample) -> bool:
        own = np.fromiter(_hashes(request_for(sample)), dtype=np.uint64)
        return not (evaluated.searchsorted(own, "left") < evaluated.searchsorted(own, "right")).any()

    shots: list[Shot] = []
    for sample in seeded_order(filter(stands_alone, training), seed):
        if len(shots) == count:
            break
        if fault_of_target(task, sample) is None:
            shots.append((request_for(sample), task.target(sample)))
    if len(shots) < count:
        raise UsageError(
            f"--shots {count}: only {len(shots)} training rows share no text with the evaluated rows and have a valid "
            "target (`bench data check` says more)."
        )
    return shots


def _hashes(request: Request) -> Iterator[int]:
    """Of its own texts that are not empty, eight bytes each: the evaluated rows may be millions."""
    for text in filter(None, map(comparable_text, request.passage_texts())):
        yield int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def with_shots(request: Request, shots: Sequence[Shot]) -> Request:
    """The request with solved examples between its system message and its question; passages stay the row's own."""
    lead = [m for m in request.messages if m.role == "system"]
    rest = request.messages[len(lead) :]
    examples = []
    for example, answer in shots:
        examples += [m for m in example.messages if m.role != "system"] + [Message(role="assistant", content=answer)]
    passages = tuple(
        p if p.message < len(lead) else msgspec.structs.replace(p, message=p.message + len(examples))
        for p in request.passages
    )
    return msgspec.structs.replace(request, messages=(*lead, *examples, *rest), passages=passages)


def probe_requests(requests: Sequence[Request], probe: Probe, seed: int) -> Iterator[Request]:
    """The requests as a probe asks them: "blank" empties every passage, "shuffle" swaps them between rows.

    Raises UsageError where a request marks no text: it would be sent unchanged, and right answers called a leak.
    """
    others = _others(len(requests), seed) if probe == "shuffle" else None
    for n, request in enumerate(requests):
        if not request.passages:
            raise UsageError(
                f"--probe {probe}: the prompt of row {request.id} marks no text as the row's own (passages)."
            )
        if others is None:
            yield cut_passages(request, 0)
        else:
            yield fill_passages(request, requests[others[n]].passage_texts())


def _others(rows: int, seed: int) -> "array[int]":
    """For every row another, whose texts it is asked about: none keeps its own (one row alone does)."""
    order = array("q", range(rows))
    random.Random(seed).shuffle(order)
    others = array("q", order)
    for k, here in enumerate(order):
        others[here] = order[(k + 1) % rows]
    return others


def fill_passages(request: Request, texts: Sequence[str]) -> Request:
    """The request with other texts in its passages, in order; missing ones become empty."""
    contents = [m.content for m in request.messages]
    passages: list[InputSpan] = []
    shift = [0] * len(contents)
    given = list(zip(request.passages, [*texts, *[""] * len(request.passages)], strict=False))
    for p, text in sorted(given, key=lambda pair: (pair[0].message, pair[0].start)):
        start, content = p.start + shift[p.message], contents[p.message]
        contents[p.message] = content[:start] + text + content[start + p.end - p.start :]
        passages.append(InputSpan(message=p.message, start=start, end=start + len(text)))
        shift[p.message] += len(text) - (p.end - p.start)
    messages = tuple(Message(role=m.role, content=c) for m, c in zip(request.messages, contents, strict=True))
    return msgspec.structs.replace(request, messages=messages, passages=tuple(passages))


class RowSource(Protocol):
    """The rows of a run, in order."""

    def __len__(self) -> int: ...
    def __getitem__(self, n: int, /) -> Sample: ...


class _LazyRequests(Sequence[Request]):
    """The requests for the rows, each built when it is read."""

    def __init__(self, samples: RowSource, request_for: Callable[[Sample], Request]) -> None:
        self._samples, self._request_for = samples, request_for

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, n: int) -> Request: ...
    @overload
    def __getitem__(self, n: slice) -> list[Request]: ...
    def __getitem__(self, n: int | slice) -> Request | list[Request]:
        if isinstance(n, slice):
            return [self[k] for k in range(*n.indices(len(self)))]
        return self._request_for(self._samples[n])


def make_requests(
    options: RunOptions,
    task: Task,
    build_request: Callable[[Task, Sample], Request],
    samples: RowSource,
    training: Callable[[], Sequence[Sample]],
) -> tuple[Iterator[Request], dict[str, Any]]:
    """The requests for the rows one by one, and the manifest's notes on how they were made.

    options: prompt, shots, probe and seed are used. build_request: a task's own request for a row. training: reads the
    training rows, called only where shots are wanted.
    Raises UsageError for a prompt that does not fit the rows, or too few training rows.
    """
    notes: dict[str, Any] = {}
    if options.prompt is not None:
        task = Prompted(task, options.prompt)
        notes["prompt"] = prompt_of(task)

    def request_for(sample: Sample) -> Request:
        return build_request(task, sample)

    plain = _LazyRequests(samples, request_for)
    shots = draw_shots(task, request_for, training(), plain, options.shots, options.seed) if options.shots else []
    requests: Iterable[Request] = plain
    if options.probe is not None:
        requests = probe_requests(plain, options.probe, options.seed)
        notes["probe"] = options.probe
    return (with_shots(request, shots) for request in requests) if shots else iter(requests), notes
