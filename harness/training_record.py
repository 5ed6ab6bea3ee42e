"""What a training stores for inspection: sampled targets, lengths, answers, and findings on the validation rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.adapter_manifest import AdapterManifest
from harness.metrics import title
from harness.records import Record
from harness.task import Task

EXAMPLES = "examples.json"
LENGTHS = "lengths.json"

R = TypeVar("R", bound=Record)


class Target(Record, frozen=True, kw_only=True):
    """A training row as the model sees it: what it reads without a loss, and what it learns to say."""

    read: str
    learned: str


class SampledAnswer(Record, frozen=True, kw_only=True):
    """A validation row's own texts, its target, and what the tuned model said; long texts are cut.

    value: the row's value of the metric that chose the checkpoint; format: the kind of format error, or None.
    """

    id: str
    asked: str
    target: str
    answer: str
    value: float | None = None
    format: str | None = None


class StepAnswers(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Answers at one step: a `sample` spread evenly over all `rows`, and the `worst` of them.

    temperature: that calibrates the label scores of all of them; None where there are none.
    """

    rows: int = 0
    sample: tuple[SampledAnswer, ...] = ()
    worst: tuple[SampledAnswer, ...] = ()
    temperature: float | None = None


class Examples(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Some targets, and answers of the checkpoint that was kept."""

    targets: tuple[Target, ...] = ()
    answers: StepAnswers = StepAnswers()


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


LEAST_ROWS = 20
"""Validation rows below which one answer everywhere says nothing."""

NEARLY_ALL = 0.95
ANSWER_SHARE = "commonest_answer_share"
"""Key of `metrics` (behind "validation_"): the share of the most frequent answer."""


def constant_facts(task: Task, references: Sequence[str]) -> dict[str, Any]:
    """For the manifest's `selection`: what always giving the most frequent label of the validation rows would score;
    empty where the headline metric is not right or wrong by label."""
    if not task.labels or not references or task.metrics[0].row_value != "correct":
        return {}
    label, count = Counter(references).most_common(1)[0]
    return {"constant": {"label": label, task.metrics[0].name: count / len(references)}}


def commonest_share(answers: Iterable[str | None]) -> float | None:
    """The share of the most frequent label among answers; None without answers, or where the most frequent is no
    label.
    """
    counts = Counter(answers)
    if not counts:
        return None
    label, count = counts.most_common(1)[0]
    return None if label is None else count / counts.total()


def constant_line(manifest: AdapterManifest) -> str:
    """ "always answering '0' gives 0.625", beside the score that it belongs to; empty where it is not known."""
    found = _constant(manifest)
    return "" if found is None else f"always answering '{found[0]}' gives {found[1]:.3f}"


def validation_findings(manifest: AdapterManifest) -> list[str]:
    """Sentences on a training that has learned nothing useful."""
    metric, rows = manifest.selection.get("metric"), int(manifest.selection.get("rows") or 0)
    score, constant = manifest.metrics.get(f"validation_{metric}"), _constant(manifest)
    if constant is None or rows < LEAST_ROWS:
        return []
    found = []
    if score is not None and score <= constant[1]:
        found.append(
            f"{title(str(metric))} {score:.3f} on {rows:,} rows; {constant_line(manifest)}: the training has learned "
            "nothing useful; try another learning rate, more rows or more epochs."
        )
    share = manifest.metrics.get(f"validation_{ANSWER_SHARE}")
    if share is not None and share >= NEARLY_ALL and 1 - share <= (1 - constant[1]) / 2:
        found.append(f"one and the same answer was given on {100 * share:.0f} % of {rows:,} validation rows.")
    return found


def _constant(manifest: AdapterManifest) -> tuple[str, float] | None:
    """Label and score of the constant answer, by the metric that chose the checkpoint."""
    facts = manifest.selection.get("constant") or {}
    value = facts.get(str(manifest.selection.get("metric")))
    return (str(facts.get("label")), float(value)) if isinstance(value, int | float) else None
