"""Few-shot examples: the same K solved rows of the training split before every question."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from harness.data.sampling import seeded_order
from harness.errors import UsageError
from harness.prompting.targets import fault_of_target
from harness.records import Message, Request, Sample
from harness.task import Task
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
