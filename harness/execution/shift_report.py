"""`bench data shift`: traffic against the rows of a run, or against the test rows of a task."""

from pathlib import Path

import numpy as np

from harness.data.rows import DataSource
from harness.data.sampling import seeded_order
from harness.errors import UsageError
from harness.records import Request, Sample
from harness.results import Estimate
from harness.runs.run_log import RunLog
from harness.summary.log_aggregate import tally_of
from harness.summary.traffic_shift import (
    ReweightedFigure,
    ShiftReport,
    compare_texts,
    describe_rows,
    reweighted,
)
from harness.task import Task
from harness.task_loading import build_request, load_rows, load_task

MOST_ROWS = 20_000
"""Rows of each set that are looked at, drawn by seed."""


def _text(request: Request) -> str:
    return "\n\n".join(request.passage_texts() or [m.content for m in request.messages])


def _texts(task: Task, samples: list[Sample]) -> list[str]:
    return [_text(build_request(task, sample)) for sample in samples]


def shift_of_run(log: RunLog, traffic: str, seed: int = 0) -> ShiftReport:
    """Traffic against a run's rows, and the run's rates reweighted to it; against its training rows where the folder of
    the data has them. Raises UsageError for rows that cannot be read, or too few."""
    task = load_task(log.manifest.task_spec)
    rows = list(log.rows())
    samples = [row.sample for row in rows]
    report, weights = _report(
        task, samples, [_text(row.request) for row in rows], traffic, log.manifest.data.get("source"), seed
    )
    summary = log.summary()
    if summary is None:
        raise UsageError(f"{log.path} has not ended: finish it with `bench run --resume {log.path}`.")
    figures, effective = [], None
    for name, result in summary.backends.items():
        values = tally_of(log, name, summary.metrics, len(rows)).outcomes.build().values
        for metric in summary.metrics:
            if metric.kind == "mean" and metric.in_points and metric.name in values:
                estimate, effective = reweighted(values[metric.name], weights)
                known = result.metrics.get(metric.name, Estimate(value=None))
                figures.append(ReweightedFigure(backend=name, metric=metric.name, evaluated=known, traffic=estimate))
    return ShiftReport(
        task=report.task,
        sets=report.sets,
        shifts=report.shifts,
        figures=tuple(figures),
        effective_rows=effective,
    )


def shift_of_rows(task: Task, data: str | None, traffic: str, seed: int = 0) -> ShiftReport:
    """Traffic against a task's test rows, and its training rows where there are any."""
    samples = _drawn(load_rows(task, DataSource(location=data, split="test")), seed)
    return _report(task, samples, _texts(task, samples), traffic, data, seed)[0]


def _report(
    task: Task, samples: list[Sample], texts: list[str], traffic: str, data: object, seed: int
) -> tuple[ShiftReport, "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
    arriving = _drawn(load_rows(task, DataSource(location=traffic, split="test")), seed)
    arrived = _texts(task, arriving)
    sets = [
        describe_rows("evaluated", texts, [s.reference for s in samples], task.labels),
        describe_rows("traffic", arrived, [s.reference for s in arriving], task.labels),
    ]
    shift, weights = compare_texts(("evaluated", "traffic"), (texts, arrived), seed)
    shifts = [shift]
    learned = _training(task, data, seed)
    if learned:
        trained = _texts(task, learned)
        sets.append(describe_rows("training", trained, [s.reference for s in learned], task.labels))
        shifts += [
            compare_texts(("training", name), (trained, other), seed)[0]
            for name, other in (("evaluated", texts), ("traffic", arrived))
        ]
    return ShiftReport(task=task.name, sets=tuple(sets), shifts=tuple(shifts)), weights


def _training(task: Task, data: object, seed: int) -> list[Sample]:
    """The training rows beside the evaluated ones; none where there are none, or too few."""
    if not isinstance(data, str) or not (data == "embedded" or Path(data).is_dir()):
        return []
    try:
        return _drawn(load_rows(task, DataSource(location=data, split="train")), seed)
    except UsageError:
        return []


def _drawn(samples: list[Sample], seed: int) -> list[Sample]:
    return samples if len(samples) <= MOST_ROWS else seeded_order(samples, seed)[:MOST_ROWS]
