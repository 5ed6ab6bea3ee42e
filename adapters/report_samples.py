"""Examples of a training, stored with the adapter: a few targets, all lengths, a few answers."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.files import write_json
from harness.metrics import Metric
from harness.records import Request, Sample, Score
from harness.task import Task
from harness.training_record import EXAMPLES, LENGTHS, Examples, Lengths, SampledAnswer, StepAnswers, Target

if TYPE_CHECKING:  # a classical baseline keeps its answers where torch is not installed
    from harness.adapters.training_examples import Example

SHOWN = 3
KEPT = 10
"""Answers kept of the sample, and of the worst."""

MOST = 1_500
"""Characters of a text that are kept."""


class Answered(NamedTuple):
    """A validation row, what was asked, what was said, and the verdict."""

    sample: Sample
    request: Request
    text: str
    score: Score
    value: float | None


def few(task: Task, metric: Metric, answered: Sequence[Answered]) -> StepAnswers:
    """A few answers: some spread evenly over the rows, and those with the worst values (of shares: the wrong ones)."""
    step = max(1, -(-len(answered) // KEPT))
    sign = 1 if metric.direction == "higher" else -1
    perfect = 1.0 if metric.direction == "higher" else 0.0
    bad = [a for a in answered if a.value is not None and not (metric.proportion and a.value == perfect)]
    worst = sorted(bad, key=lambda a: sign * (a.value or 0.0))[:KEPT]
    return StepAnswers(
        rows=len(answered),
        sample=tuple(_answer(task, a) for a in answered[::step]),
        worst=tuple(_answer(task, a) for a in worst),
    )


def _answer(task: Task, a: Answered) -> SampledAnswer:
    asked = "\n\n".join(a.request.passage_texts()) or a.request.messages[-1].content
    return SampledAnswer(
        id=a.sample.id,
        asked=_cut(asked),
        target=_cut(task.target(a.sample)),
        answer=_cut(a.text),
        value=a.value,
        format=a.score.format,
    )


def _cut(text: str) -> str:
    return text if len(text) <= MOST else text[: MOST - 1] + "…"


def target_of(example: "Example", tokenizer: Any, labels: tuple[str, ...]) -> Target:
    """One row as tokens see it: what carries no loss, and what is learned."""
    learned = tokenizer.decode(example.answer) if example.answer else labels[example.label]
    return Target(read=tokenizer.decode(example.prompt), learned=learned)


def answers_file(work: Path, step: int) -> Path:
    """Where the answers of a step are kept during a training."""
    return work / f"answers-{step}.json"


def write_lengths(folder: Path, train: "list[Example]", room: int) -> None:
    """Keep how many rows have how many tokens."""
    write_json(folder / LENGTHS, Lengths(room=room, counts=dict(sorted(Counter(e.tokens for e in train).items()))))


def write_examples(folder: Path, targets: Sequence[Target], answers: StepAnswers) -> None:
    """Keep a few targets and answers."""
    cut = tuple(Target(read=_cut(t.read), learned=_cut(t.learned)) for t in targets)
    write_json(folder / EXAMPLES, Examples(targets=cut, answers=answers))
