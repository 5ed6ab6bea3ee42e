"""Variants of the prompts of a run: the task's own or another template, few-shot examples, leak probes."""

import hashlib
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol, overload

import msgspec

from harness.data.sampling import seeded_order
from harness.errors import UsageError
from harness.prompting.chat_rendering import cut_passages
from harness.prompting.prompt_override import Prompted, prompt_of
from harness.records import InputSpan, Message, Record, Request, Sample
from harness.task import Task, fault_of_target
from harness.text_normalization import comparable_text

Shot = tuple[Request, str]
"""A solved row: what is asked about it, and the answer."""


def draw_shots(
    task: Task,
    ask: Callable[[Sample], Request],
    training: Iterable[Sample],
    asked: Iterable[Request],
    count: int,
    seed: int,
) -> list[Shot]:
    """The first `count` rows, in their seeded order (so with their classes' shares), that no evaluated row resembles.

    ask: what is asked about a row. A row that shares a text with an evaluated one is passed over: its answer
    would stand in that one's prompt. So is one whose own target is invalid: it would show a format error as the answer.
    Raises UsageError where too few are left.
    """
    import numpy as np

    evaluated = np.unique(np.fromiter((h for request in asked for h in _hashes(request)), dtype=np.uint64))

    def stands_alone(sample: Sample) -> bool:
        own = np.fromiter(_hashes(ask(sample)), dtype=np.uint64)
        return not (evaluated.searchsorted(own, "left") < evaluated.searchsorted(own, "right")).any()

    shots: list[Shot] = []
    for sample in seeded_order(filter(stands_alone, training), seed):
        if len(shots) == count:
            break
        if fault_of_target(task, sample) is None:
            shots.append((ask(sample), task.target(sample)))
    if len(shots) < count:
        raise UsageError(
            f"--shots {count}: only {len(shots)} training rows share no text with the evaluated rows and have a valid "
            "target (bench data check says more)."
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


Probe = Literal["blank", "shuffle"]


def probe_requests(requests: Sequence[Request], probe: Probe, seed: int) -> Iterator[Request]:
    """The requests as a probe asks them: "blank" empties every passage, "shuffle" swaps them between rows.

    Raises UsageError where a request marks no text: it would be asked as it stands, and right answers called a leak.
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


class Questions(Record, frozen=True, kw_only=True):
    """How rows are asked. prompt: a file with another prompt; shots: solved training rows before each question;
    probe: "blank" or "shuffle" the rows' own texts."""

    prompt: str | None = None
    shots: int = 0
    probe: Probe | None = None


class RowSource(Protocol):
    """The rows of a run, in order."""

    def __len__(self) -> int: ...
    def __getitem__(self, n: int, /) -> Sample: ...


class _Asked(Sequence[Request]):
    """The requests for the rows, each made when it is looked at."""

    def __init__(self, samples: RowSource, question: Callable[[Sample], Request]) -> None:
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
    samples: RowSource,
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
