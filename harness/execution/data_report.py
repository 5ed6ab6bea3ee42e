"""Reports on a data set before it is used: sizes, repeats and bad targets; and traffic against evaluated rows."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.data.contamination import Signatures, find_overlap
from harness.data.rows import DataSource
from harness.data.sampling import fingerprint, seeded_order
from harness.errors import DataError, UsageError
from harness.metrics import Estimate
from harness.records import Record, Request, Sample
from harness.runs.run_log import RunLog
from harness.summary.log_aggregate import tally_of
from harness.summary.traffic_shift import (
    ReweightedFigure,
    ShiftReport,
    compare_texts,
    describe_rows,
    reweighted,
)
from harness.task import Task, invalid_targets
from harness.task_loading import build_request, collect_data_warnings, load_rows, load_task, read_rows
from harness.text_format import agreeing, count_noun
from harness.text_normalization import comparable_text

TRAIN, TEST = "train", "test"

LISTED = 5
"""How many invalid targets are listed in words; the record holds them all."""


class SplitReport(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One split: rows, rows with different inputs, groups (rows without one count each), references of a closed set,
    what its reader left out; or, in `missing`, why it cannot be read, and in `problems` what is wrong row by row."""

    rows: int = 0
    distinct: int = 0
    groups: int = 0
    classes: dict[str, int] = {}
    fingerprint: str = ""
    remarks: tuple[str, ...] = ()
    missing: str = ""
    problems: tuple[str, ...] = ()


class DataReport(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A task's data.

    invalid_targets: training row -> kind of format error that its target would teach. shared: evaluated rows
    that are also in the training rows exactly, near: nearly; shared_distinct: of the rows with different inputs;
    touching: evaluated rows one of whose texts (a question of a pair) is in a training row.
    """

    task: str
    splits: dict[str, SplitReport]
    invalid_targets: dict[str, str] = {}
    shared: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    shared_distinct: int = 0
    touching: int = 0

    def sentences(self) -> list[str]:
        """The report in words."""
        lines = []
        for name, split in self.splits.items():
            if split.problems:
                lines.append(f"{name}: {count_noun(len(split.problems), 'row')} cannot be read:")
                lines += _first(split.problems)
                continue
            if split.missing:
                lines.append(f"{name}: {split.missing}")
                continue
            repeats = split.rows - split.distinct
            also = f", {repeats:,} {agreeing(repeats, 'repeats', 'repeat')} the inputs of another" if repeats else ""
            classes = "; ".join(f"{label} {count:,}" for label, count in split.classes.items())
            sizes = f"{count_noun(split.rows, 'row')}{also}, {count_noun(split.groups, 'group')}"
            lines.append(f"{name}: {sizes}" + (f" ({classes})" if classes else ""))
            lines += split.remarks
        if self.invalid_targets:
            lines.append(f"{len(self.invalid_targets)} of {self.splits[TRAIN].rows} training targets are invalid:")
            lines += _first([f"{row}: {kind}" for row, kind in self.invalid_targets.items()])
        test = self.splits[TEST]
        if test.rows and test.fingerprint == self.splits[TRAIN].fingerprint:
            lines.append(
                "train and test are the same rows: a file without splits is read for both. Split it (bench data split "
                "FILE --out DIR) and name the folder."
            )
        elif test.rows and self.splits[TRAIN].rows:
            seen = len(self.shared) + len(self.near)
            lines.append(
                f"{seen} of {test.rows} evaluated rows are also in the training rows: {len(self.shared)} exactly "
                f"({self.shared_distinct} of {test.distinct} distinct ones), {len(self.near)} nearly."
            )
        if self.touching > len(self.shared):
            lines.append(f"{self.touching} of {test.rows} evaluated rows share a text with a training row.")
        return lines


def _first(lines: Sequence[str]) -> list[str]:
    """The first of many findings, and how many more there are."""
    more = len(lines) - LISTED
    rest = [f"  and {more} more (--json lists them all)"] if more > 0 else []
    return [*(f"  {line}" for line in lines[:LISTED]), *rest]


def report_data(task: Task, location: str | None) -> DataReport:
    """Look at both splits. Raises UsageError where neither can be read and no row is to blame."""
    rows: dict[str, list[Sample]] = {}
    splits: dict[str, SplitReport] = {}
    for name in (TRAIN, TEST):
        try:
            found, remarks = read_rows(task, DataSource(location=location, split=name))
        except UsageError as error:
            problems = _row_problems(task, DataSource(location=location, split=name))
            splits[name] = SplitReport(missing=str(error), problems=problems)
            continue
        rows[name] = found
        splits[name] = _split(task, found, remarks)
    if not rows and not any(split.problems for split in splits.values()):
        raise DataError(splits[TEST].missing)
    report = DataReport(task=task.name, splits=splits, invalid_targets=invalid_targets(task, rows.get(TRAIN, [])))
    if len(rows) < len(splits):
        return report
    texts = {name: [build_request(task, s).passage_texts() for s in rows[name]] for name in (TEST, TRAIN)}
    asked, learned = (Signatures.of(texts[name]) for name in (TEST, TRAIN))
    overlap = find_overlap(asked, learned, TRAIN)
    known = {comparable_text(text) for own in texts[TRAIN] for text in own} - {""}
    ids = [sample.id for sample in rows[TEST]]
    return DataReport(
        task=report.task,
        splits=splits,
        invalid_targets=report.invalid_targets,
        shared=tuple(ids[n] for n in overlap.exact),
        near=tuple(ids[n] for n in overlap.near),
        shared_distinct=len({int(asked.exact[n]) for n in overlap.exact}),
        touching=sum(any(comparable_text(text) in known for text in own) for own in texts[TEST]),
    )


def _row_problems(task: Task, source: DataSource) -> tuple[str, ...]:
    """Every row of a task file's data that cannot be read; nothing where it is not the rows that are wrong."""
    from harness.task_file import FileTask  # brings jinja2 and jsonschema

    if not isinstance(task, FileTask):
        return ()
    try:
        with collect_data_warnings():
            return tuple(task.row_problems(source))
    except UsageError:
        return ()


def _split(task: Task, rows: list[Sample], remarks: list[str]) -> SplitReport:
    groups = {row.group if row.group is not None else row.id for row in rows}
    return SplitReport(
        rows=len(rows),
        distinct=len({row.id.partition("-")[0] for row in rows}),
        groups=len(groups),
        classes=dict(Counter(row.reference for row in rows).most_common()) if task.labels else {},
        fingerprint=fingerprint(rows),
        remarks=tuple(remarks),
    )


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
