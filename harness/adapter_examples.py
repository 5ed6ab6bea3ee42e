"""What a training keeps so that people can look at it: targets, lengths, and the tuned model's answers."""

from pathlib import Path
from typing import TypeVar

import msgspec

from harness.records import Record

EXAMPLES = "examples.json"
LENGTHS = "lengths.json"

R = TypeVar("R", bound=Record)


class Target(Record, frozen=True, kw_only=True):
    """A training row as the model sees it: what it reads without a loss, and what it learns to say."""

    read: str
    learned: str


class Answer(Record, frozen=True, kw_only=True):
    """A validation row's own texts, its target, and what the tuned model said; long texts are cut.

    value: the row's value of the metric that chose the checkpoint; format: the kind of format error, or None.
    """

    id: str
    asked: str
    target: str
    answer: str
    value: float | None = None
    format: str | None = None


class Answers(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Answers at one step: a `sample` spread evenly over all `rows`, and the `worst` of them."""

    rows: int = 0
    sample: tuple[Answer, ...] = ()
    worst: tuple[Answer, ...] = ()


class Examples(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Some targets, and answers of the checkpoint that was kept."""

    targets: tuple[Target, ...] = ()
    answers: Answers = Answers()


class Lengths(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Tokens of the training rows: how many rows have how many; `room` is the most that a row may have."""

    room: int
    counts: dict[int, int]


def read_examples(folder: Path) -> Examples:
    """Targets and answers kept beside an adapter; empty where it keeps none."""
    return _read(folder / EXAMPLES, Examples) or Examples()


def read_lengths(folder: Path) -> Lengths | None:
    """Lengths of the rows an adapter learned from; None where it keeps none."""
    return _read(folder / LENGTHS, Lengths)


def _read(path: Path, kind: type[R]) -> R | None:
    """A file's record; None where there is no such file, or none that this version can read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
