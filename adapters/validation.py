"""Validation rows asked during the training, by the scorer that `run` uses: same prompts, same engine, same verdict."""

from typing import Any

from harness.adapter_examples import Answers
from harness.asking.plan import ask
from harness.local.engine import LocalEngine
from harness.metrics import Metric
from harness.records import Decode, Sample, Score
from harness.task import Task

from .story import Answered, few


class Validation:
    """The rows that choose a checkpoint, and what the task says about a live model's answers to them.

    shown: a few of the answers that were measured last.
    """

    def __init__(self, task: Task, samples: list[Sample], decode: Decode) -> None:
        self.task = task
        self.samples = samples
        self.decode: Decode = decode
        self.requests = [ask(task, sample) for sample in samples]
        self.metric = task.metrics[0]
        self.shown = Answers()

    def scores(self, model: Any, tokenizer: Any) -> list[Score]:
        """One verdict a row; rows that the machine could not answer (out of memory) are left out."""
        engine = LocalEngine.from_live(model, tokenizer)
        completions = engine.answer(self.requests, decode=self.decode, labels=self.task.labels)
        answered = []
        for sample, request, completion in zip(self.samples, self.requests, completions, strict=True):
            if completion.error is None:
                score = self.task.score(sample, completion)
                answered.append(Answered(sample, request, completion.text, score, row_value(self.metric, score)))
        self.shown = few(self.task, self.metric, answered)
        return [a.score for a in answered]

    def measure(self, model: Any, tokenizer: Any) -> dict[str, float]:
        """The task's headline metric and the format error rate; empty where answers have no verdict."""
        scores = self.scores(model, tokenizer)
        values = [v for v in (row_value(self.metric, score) for score in scores) if v is not None]
        found = {}
        if values:
            found[self.metric.name] = sum(values) / len(values)
        if scores and self.decode not in ("choose", "head"):
            found["format_error_rate"] = sum(score.format is not None for score in scores) / len(scores)
        return found


def row_value(metric: Metric, score: Score) -> float | None:
    """A row's value of a metric; None where the row has none (or the metric is no mean over rows)."""
    if metric.kind != "mean":
        return None
    if metric.row_value == "correct":
        return None if score.correct is None else float(score.correct)
    if metric.row_value == "format_error":
        return float(score.format is not None)
    return score.values.get(metric.row_value)
