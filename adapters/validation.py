"""Validation rows asked during the training, by the scorer that `run` uses: same prompts, same engine, same verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from harness.adapters import distributed
from harness.adapters.lora_model import whole_outside_layers
from harness.adapters.report_samples import Answered, few
from harness.backends.local.engine import LocalEngine
from harness.metrics import Metric
from harness.records import Decode, Sample, Score
from harness.statistics.temperature_scaling import fit_temperature
from harness.task import Task
from harness.task_loading import build_request
from harness.training_record import ANSWER_SHARE, StepAnswers, commonest_share

from .recipe import Recipe


class Validation:
    """The rows that choose a checkpoint, and what the task says about a live model's answers to them.

    shown: a few of the answers that were measured last, and the temperature that calibrates their label scores.
    """

    def __init__(self, task: Task, samples: list[Sample], recipe: Recipe) -> None:
        self.task = task
        self.samples = samples
        self.decode: Decode = recipe.default_decode
        self.template = recipe.template
        self.sharded = recipe.sharding != "none"
        self.requests = [build_request(task, sample) for sample in samples]
        self.metric = task.metrics[0]
        self.shown = StepAnswers()

    def scores(self, model: Any, tokenizer: Any) -> list[Score]:
        """One verdict a row; rows that the machine could not answer (out of memory) are left out.

        Processes that train together share the rows, and each gets all verdicts. Where they share the weights too,
        all ask all rows in step, because a layer is whole only while everybody needs it; process 0's verdicts count.
        """
        mine = range(
            0 if self.sharded else distributed.rank(), len(self.samples), 1 if self.sharded else distributed.world()
        )
        engine = LocalEngine.from_live(model, tokenizer, self.template)
        with whole_outside_layers(model):
            completions = engine.answer([self.requests[n] for n in mine], decode=self.decode, labels=self.task.labels)
        answered = []
        for n, completion in zip(mine, completions, strict=True):
            if completion.error is None:
                sample, request = self.samples[n], self.requests[n]
                score = self.task.score(sample, completion)
                value = row_value(self.metric, score)
                answered.append((n, Answered(sample, request, completion.text, score, value)))
        scored = [(n, c.label_scores) for n, c in zip(mine, completions, strict=True) if c.label_scores]
        scored = distributed.told(scored) if self.sharded else distributed.gathered(scored)
        references = [self.samples[n].reference for n, _ in scored]
        temperature = temperature_of([scores for _, scores in scored], references, self.task.labels)
        answered = distributed.told(answered) if self.sharded else distributed.gathered(answered)
        in_order = [a for _, a in sorted(answered, key=lambda pair: pair[0])]
        self.shown = msgspec.structs.replace(few(self.task, self.metric, in_order), temperature=temperature)
        return [a.score for a in in_order]

    def measure(self, model: Any, tokenizer: Any) -> dict[str, float]:
        """The task's headline metric, where it is a mean over rows, the format error rate, and the share of the
        most frequent label among the answers.

        Not a number where no row has a value: then no checkpoint is better for it.
        """
        scores = self.scores(model, tokenizer)
        values = [v for v in (row_value(self.metric, score) for score in scores) if v is not None]
        found = {}
        if self.metric.kind == "mean":
            found[self.metric.name] = sum(values) / len(values) if values else float("nan")
        if scores and self.decode not in ("choose", "head"):
            found["format_error_rate"] = sum(score.format is not None for score in scores) / len(scores)
        share = commonest_share(score.answer for score in scores) if self.task.labels else None
        if share is not None:
            found[ANSWER_SHARE] = share
        return found


def temperature_of(
    scores: Sequence[Mapping[str, float]], references: Sequence[str], labels: Sequence[str]
) -> float | None:
    """The temperature that calibrates label scores of validation rows; None where there are too few, or scores of some
    labels are missing.

    scores: of each row, by label. references: the right labels.
    """
    whole = [(row, ref) for row, ref in zip(scores, references, strict=True) if ref in labels and set(row) >= {*labels}]
    if not whole:
        return None
    table = np.array([[row[label] for label in labels] for row, _ in whole], dtype=np.float64)
    return fit_temperature(table, np.array([list(labels).index(ref) for _, ref in whole], dtype=np.int64))


def row_value(metric: Metric, score: Score) -> float | None:
    """A row's value of a metric; None where the row has none (or the metric is no mean over rows)."""
    if metric.kind != "mean":
        return None
    if metric.row_value == "correct":
        return None if score.correct is None else float(score.correct)
    if metric.row_value == "format_error":
        return float(score.format is not None)
    return score.values.get(metric.row_value)
