"""What the validation of a training says against it: no better than a constant answer, or one answer everywhere."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from harness.adapter import AdapterManifest
from harness.metrics import title
from harness.task import Task

LEAST_ROWS = 20
"""Validation rows below which one answer everywhere says nothing."""

NEARLY_ALL = 0.95
ANSWER_SHARE = "commonest_answer_share"
"""Key of `metrics` (behind "validation_"): the share of the commonest answer."""


def constant_facts(task: Task, references: Sequence[str]) -> dict[str, Any]:
    """For the manifest's `selection`: what always giving the commonest label of the validation rows would score; empty
    where the headline metric is not right or wrong by label."""
    if not task.labels or not references or task.metrics[0].row_value != "correct":
        return {}
    label, count = Counter(references).most_common(1)[0]
    return {"constant": {"label": label, task.metrics[0].name: count / len(references)}}


def commonest_share(answers: Iterable[str | None]) -> float | None:
    """The share of the commonest label among answers; None without answers, or where the commonest is no label."""
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
