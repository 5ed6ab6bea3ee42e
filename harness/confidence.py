"""How sure a backend is of an answer, named by where that is known from.

- "label scores": the probability of the answered label. Where every label has a score it is the softmax of the scores
  over the labels, divided by the calibration temperature (C. Guo et al., On Calibration of Modern Neural Networks,
  ICML 2017); where a server gave the scores of some labels only, it is the answered label's own probability.
- "mean log-probability", "least log-probability": exp of the mean and of the least log-probability of the answer's
  tokens: the geometric mean of their probabilities, and the probability of the most doubtful one.
- "task": what the task's own method `confidence` returns.
- "agreement": the share of a row's repeats with the same answer; a figure of rows, which no single answer has.

All but the task's lie in [0, 1]. Larger is surer; only comparisons with a threshold are made of them.
"""

import math
from collections.abc import Mapping
from typing import Literal, Protocol, get_args, runtime_checkable

from harness.errors import UsageError
from harness.records import Completion
from harness.task import Task

ConfidenceSource = Literal["label scores", "mean log-probability", "least log-probability", "task", "agreement"]
SOURCES: tuple[ConfidenceSource, ...] = get_args(ConfidenceSource)
PREFERRED: tuple[ConfidenceSource, ...] = (
    "task",
    "label scores",
    "mean log-probability",
    "least log-probability",
    "agreement",
)
"""The order in which a source is chosen where nobody named one."""


@runtime_checkable
class RatesConfidence(Protocol):
    """A task that says how sure an answer is, from the answer alone."""

    def confidence(self, completion: Completion) -> float | None:
        """Larger is surer; None where the answer does not say."""
        ...


def task_confidence(task: Task, completion: Completion) -> float | None:
    """What the task's own method says of an answer; None without such a method. Raises UsageError for no number."""
    if not isinstance(task, RatesConfidence):
        return None
    found = task.confidence(completion)
    if found is None or (isinstance(found, int | float) and not isinstance(found, bool)):
        return None if found is None else float(found)
    raise UsageError(f"task '{task.name}': confidence(): returns {type(found).__name__}, not a number or None.")


def answer_confidence(
    completion: Completion, source: ConfidenceSource, labels: int, temperature: float | None = None
) -> float | None:
    """The confidence of one answer from one source; None where the answer does not carry it (and for "agreement" and
    "task", which are not known from a completion).

    labels: how many the request names. temperature: of the label scores (None: 1).
    """
    if completion.error is not None:
        return None
    if source == "label scores":
        scores = completion.label_scores
        return label_confidence(scores, completion.text, labels, temperature) if scores else None
    tokens = completion.token_logprobs
    if tokens is None or source not in ("mean log-probability", "least log-probability"):
        return None
    return math.exp(min(0.0, tokens.mean if source == "mean log-probability" else tokens.least))


def label_confidence(
    scores: Mapping[str, float], answer: str, labels: int, temperature: float | None = None
) -> float | None:
    """The probability of the answered label; None where the answer is none of the scored ones.

    scores: label -> log-likelihood or log-probability. labels: how many there are; where fewer have a score, these are
    log-probabilities of a server, of which no temperature is taken.
    """
    stated = answer.strip().casefold()
    label = next((name for name in scores if name.casefold() == stated), None)
    if label is None:
        return None
    if len(scores) < max(labels, 2):
        return math.exp(min(0.0, scores[label]))
    t = temperature or 1.0
    highest = max(scores.values())
    total = sum(math.exp((score - highest) / t) for score in scores.values())
    return math.exp((scores[label] - highest) / t) / total
