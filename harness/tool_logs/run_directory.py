"""Other tools' evaluations as run directories: one a task and set of rows, with a backend for every model."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.data.contamination import Findings, write_findings
from harness.data.sampling import fingerprint
from harness.errors import DataError, UsageError
from harness.hashing import digest
from harness.metrics import Metric
from harness.records import (
    BackendIdentity,
    Completion,
    Cost,
    InputSpan,
    Message,
    Request,
    Sample,
    Score,
    Timing,
    numbered,
)
from harness.runs.run_log import Manifest, RunLog, Session
from harness.summary.summarise import summarise
from harness.text_format import utc_now, utc_text
from harness.tool_logs import deepeval, inspect_ai, lm_eval, promptfoo
from harness.tool_logs.evaluation import LoggedAnswer, LoggedEvaluation
from harness.workspace import Workspace

LARGEST_LABEL_SET = 60
"""Choices that are the same in every row are labels, up to so many."""


class _Tool(NamedTuple):
    find: Callable[[Path], list[Path]]
    read: Callable[[Path], LoggedEvaluation | list[LoggedEvaluation]]


TOOLS = {
    "lm-eval": _Tool(lm_eval.find_logs, lm_eval.read_log),
    "inspect": _Tool(inspect_ai.find_logs, inspect_ai.read_log),
    "promptfoo": _Tool(promptfoo.find_logs, promptfoo.read_log),
    "deepeval": _Tool(deepeval.find_logs, deepeval.read_log),
}


class ImportedRun(NamedTuple):
    """A run directory that was written, its backends, rows, and sentences on what was left out."""

    path: Path
    task: str
    backends: tuple[str, ...]
    rows: int
    remarks: tuple[str, ...]


class _Rows(NamedTuple):
    """The rows of an evaluation: samples and requests in the log's order, and where each row of the log is."""

    samples: list[Sample]
    requests: list[Request]
    position: dict[str, int]
    repeats: int
    key: str


def read_evaluations(paths: Sequence[Path], tool: str) -> list[LoggedEvaluation]:
    """Every evaluation below the paths. Raises UsageError where there is none."""
    reader = TOOLS[tool]
    found: list[LoggedEvaluation] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder.")
        logs = reader.find(path)
        if not logs:
            raise DataError(f"{path}: holds no logs of {tool}.")
        for log in logs:
            read = reader.read(log)
            found += read if isinstance(read, list) else [read]
    return found


def import_runs(
    evaluations: Sequence[LoggedEvaluation],
    workspace: Workspace,
    *,
    name: str | None = None,
    task: str | None = None,
    out: Path | None = None,
) -> list[ImportedRun]:
    """Write a run directory for every task; models that were asked the same rows are backends of one run.

    name: of the backend, where there is one model. task: of the runs, where there is one task. out: the run directory,
    where there is one run. Raises UsageError where these options do not fit.
    """
    groups: dict[tuple[str, str], list[tuple[LoggedEvaluation, _Rows]]] = {}
    for evaluation in evaluations:
        rows = _rows_of(evaluation)
        groups.setdefault((evaluation.task, rows.key), []).append((evaluation, rows))
    models = {(e.model, e.adapter) for e in evaluations}
    if name is not None and len(models) > 1:
        raise UsageError(f"--name names one model, and these logs are of {len(models)}: import them one by one.")
    if task is not None and len({key for key, _ in groups}) > 1:
        raise UsageError(f"--task names one task, and these logs are of {len({k for k, _ in groups})}.")
    if out is not None and len(groups) > 1:
        raise UsageError(f"--out names one run, and these logs make {len(groups)}: import them one by one.")
    return [_write(group, workspace, name, task, out) for group in groups.values()]


def _rows_of(evaluation: LoggedEvaluation) -> _Rows:
    labels = _labels(evaluation)
    position: dict[str, int] = {}
    samples: list[Sample] = []
    requests: list[Request] = []
    seen: Counter[str] = Counter()
    for answer in evaluation.answers:
        if answer.row in position:
            continue
        position[answer.row] = len(samples)
        sample = Sample.of(answer.inputs, answer.reference, "test", group=answer.group, columns=answer.columns)
        seen[sample.id] += 1
        sample = numbered(sample, seen[sample.id])
        samples.append(sample)
        requests.append(_request(sample, answer, labels))
    repeats = 1 + max(answer.repeat for answer in evaluation.answers)
    asked = sorted([s.id, r.hash(), s.reference] for s, r in zip(samples, requests, strict=True))
    key = digest([*asked, [str(repeats)]])
    return _Rows(samples, requests, position, repeats, key)


def _request(sample: Sample, answer: LoggedAnswer, labels: tuple[str, ...]) -> Request:
    """What was asked. The whole last message of the user is the row's own text: its prompt cannot be separated."""
    messages = answer.messages or (Message(role="user", content=""),)
    last = max((n for n, m in enumerate(messages) if m.role == "user"), default=len(messages) - 1)
    span = InputSpan(message=last, start=0, end=len(messages[last].content))
    return Request(id=sample.id, messages=messages, passages=(span,), labels=labels)


def _labels(evaluation: LoggedEvaluation) -> tuple[str, ...]:
    """The choices, where every row has the same ones and every right answer is among them."""
    sets = {answer.labels for answer in evaluation.answers}
    labels = next(iter(sets)) if len(sets) == 1 else ()
    references = {answer.reference for answer in evaluation.answers}
    known = len(set(labels)) == len(labels) <= LARGEST_LABEL_SET and references <= set(labels)
    return labels if known else ()


def _write(
    group: list[tuple[LoggedEvaluation, _Rows]],
    workspace: Workspace,
    name: str | None,
    task: str | None,
    out: Path | None,
) -> ImportedRun:
    first, rows = group[0]
    backends = _backend_names([evaluation for evaluation, _ in group], name)
    metrics, remarks = _common_metrics(backends)
    if not metrics:
        raise DataError(
            f"{first.source}: no metric of {first.task} is a mean of row values: there is nothing to compare."
        )
    task_name = "".join(c if c.isalnum() or c in "-_." else "-" for c in task or first.task).strip("-.") or "imported"
    run_id = f"{task_name}-{utc_now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    path = out or workspace.runs / run_id
    labels = rows.requests[0].labels
    manifest = Manifest(
        id=run_id,
        task=task_name,
        task_spec=f"{first.tool}:{first.task}",
        parser=f"{first.tool}/{first.task_version}",
        metric_versions={m.name: m.version for m in metrics},
        labels=labels,
        created=utc_text(),
        rows=len(rows.samples),
        repeats=rows.repeats,
        data={
            "source": f"{first.tool}:{first.source}",
            "split": "test",
            "label": f"imported from {first.tool}",
            "fingerprint": fingerprint(rows.samples),
        },
        request_hash=digest([request.hash() for request in rows.requests]),
        backends={n: _identity(e) for n, e in backends.items()},
        backend_settings={},
        versions={first.tool: first.version},
    )
    log = RunLog.create(path, manifest, zip(rows.samples, rows.requests, strict=True))
    for backend, evaluation in backends.items():
        _answer(log, backend, evaluation, rows, metrics)
    all_remarks = tuple(dict.fromkeys([r for e in backends.values() for r in e.remarks] + remarks))
    write_findings(path, Findings(remarks=all_remarks))
    log.write_summary(summarise(log, metrics))
    return ImportedRun(path, task_name, tuple(backends), len(rows.samples), all_remarks)


def _backend_names(evaluations: list[LoggedEvaluation], name: str | None) -> dict[str, LoggedEvaluation]:
    """A name for each; a second log of one model gets a number."""
    found: dict[str, LoggedEvaluation] = {}
    for evaluation in evaluations:
        wanted = name or evaluation.backend
        number = next(n for n in range(1, len(evaluations) + 2) if f"{wanted}{f'-{n}' if n > 1 else ''}" not in found)
        found[f"{wanted}{f'-{number}' if number > 1 else ''}"] = evaluation
    return found


def _common_metrics(backends: dict[str, LoggedEvaluation]) -> tuple[tuple[Metric, ...], list[str]]:
    """Metrics that every model's log has; a rate only where it is one in all of them."""
    found = {name: evaluation.checked_metrics() for name, evaluation in backends.items()}
    remarks = [f"{name}: {remark}" for name, (_, of_run) in found.items() for remark in of_run]
    tables = [{m.name: m for m in metrics} for metrics, _ in found.values()]
    common = []
    for name, metric in tables[0].items():
        same = [table[name] for table in tables if name in table]
        if len(same) == len(tables):
            common.append(metric if all(m.proportion == metric.proportion for m in same) else _graded(same))
    return tuple(common), remarks


def _graded(same: list[Metric]) -> Metric:
    return next(m for m in same if not m.proportion)


def _identity(evaluation: LoggedEvaluation) -> BackendIdentity:
    return BackendIdentity(
        kind="replay",
        model=evaluation.model,
        decode="choose" if evaluation.decode == "choose" else "generate",
        adapter=evaluation.adapter,
        settings={"imported_from": evaluation.tool, "path": evaluation.source},
    )


def _answer(log: RunLog, backend: str, evaluation: LoggedEvaluation, rows: _Rows, metrics: tuple[Metric, ...]) -> None:
    headline = metrics[0]
    with log.writer(backend) as writer:
        for n, completion, score in _lines(evaluation, rows, headline):
            writer.append(n, completion, score)
    log.note_session(backend, Session(started=evaluation.created, wall_s=0.0, rows=0))


def _lines(
    evaluation: LoggedEvaluation, rows: _Rows, headline: Metric
) -> Iterator[tuple[int, Completion, Score | None]]:
    for answer in evaluation.answers:
        n = rows.position[answer.row]
        completion = Completion(
            id=rows.samples[n].id,
            repeat=answer.repeat,
            text=answer.text,
            finish=None if answer.error else answer.finish,
            usage=answer.usage,
            timing=Timing(service_s=answer.service_s or 0.0),
            cost=Cost(list=answer.cost, incurred=0.0),
            attempts=0,
            cached=True,
            error=answer.error,
        )
        correct = answer.values.get(headline.name)
        score = Score(
            answer=answer.text if answer.answer is None else answer.answer,
            correct=None if correct is None or not headline.proportion else correct == 1.0,
            values=answer.values,
        )
        yield n, completion, None if answer.error else score
