"""The tables of a leaderboard: the best run of every candidate, and a candidate's runs one by one."""

from collections.abc import Mapping

from harness.gating.gate_result import WORDS
from harness.metrics import Estimate, Metric
from harness.reports.leaderboard_rows import (
    constant_name,
    figure,
    heading,
    latency_cells,
    main_metrics,
    money_cell,
    training_cell,
)
from harness.reports.table_model import Grid, TableCell, TableColumn, words_cell
from harness.results import ConstantAnswer
from harness.summary.candidate_history import BoardCandidate, CandidateRun, RowSet, RunFacts
from harness.text_format import NOT_APPLICABLE, interval, number, plural, to_the_second
from harness.text_sanitize import visible_line

TONES = {"pass": "good", "unchanged": "good", "fail": "bad", "incomparable": "bad", "incomplete": "bad"}
"""How a gate's verdict is coloured, beside its word; others are neither good nor bad."""


METRICS = 3
"""Metrics of a leaderboard; the page of a run has all."""


def row_set_title(rows: RowSet) -> str:
    """ "1,000 rows of test, news.csv (c4e882d1)"."""
    run = rows.runs[0]
    data = run.summary.data
    split, label = str(data.get("split") or ""), str(data.get("label") or "")
    source = str(data.get("source") or "").rstrip("/").rpartition("/")[2]
    where = ", ".join(visible_line(word, 60) for word in (split, label or source) if word)
    return f"{plural(run.summary.rows, 'row')}{f' of {where}' if where else ''} ({rows.key[:8]})"


def metrics_of_runs(runs: tuple[RunFacts, ...], first: Metric) -> tuple[Metric, ...]:
    """The main metrics of the runs, each once: the headline of the newest run, then as the runs name them."""
    found = {first.name: first}
    for run in runs:
        for metric in main_metrics(run.summary):
            found.setdefault(metric.name, metric)
    return tuple(found.values())[:METRICS]


def best_runs(rows: RowSet, history: Mapping[tuple[str, str], str]) -> Grid:
    """A row for each candidate's best run, the best candidate first. history: address of a candidate's runs, by its
    name and model."""
    metrics = metrics_of_runs(rows.runs, rows.metric)
    columns = (
        TableColumn(title="candidate", numeric=False),
        *map(heading, metrics),
        TableColumn(
            title="last change",
            hint="of the first metric, from the candidate's last run but one to its last run, with a 95 % interval",
        ),
        TableColumn(title="gate", numeric=False, hint="verdict of `bench gate` on this run"),
        TableColumn(title="p95", hint="latency, one request at a time: 95 % of the answers came faster"),
        TableColumn(title="$ per 1,000", hint="list price of 1,000 answers"),
        TableColumn(title="training", hint="USD, once"),
        TableColumn(title="decode", numeric=False, hint="how an answer is obtained from the model"),
        TableColumn(title="best run", numeric=False, hint="short id, time in UTC, commit"),
        TableColumn(title="runs", hint="on these rows"),
    )
    body = [
        _best_row(candidate, metrics, history.get((candidate.name, candidate.model), ""))
        for candidate in rows.candidates
    ]
    constant = rows.runs[0].summary.constant
    if constant is not None:
        body.append(_constant_row(constant, metrics))
    return Grid(
        caption=f"Best run of each candidate: {row_set_title(rows)}", columns=columns, rows=tuple(body), sortable=True
    )


def _best_row(candidate: BoardCandidate, metrics: tuple[Metric, ...], history: str) -> tuple[TableCell, ...]:
    best = candidate.best
    _, p95 = latency_cells(best.result)
    return (
        candidate_cell(candidate, best),
        *(figure(best.result.metrics, m) for m in metrics),
        change_cell(candidate.newest, metrics[0]),
        gate_cell(best),
        p95,
        money_cell(best.result.cost.per_1000),
        training_cell(best.result),
        words_cell(best.result.decode),
        run_cell(best.run),
        TableCell(text=str(len(candidate.runs)), sort=float(len(candidate.runs)), href=history),
    )


def _constant_row(constant: ConstantAnswer, metrics: tuple[Metric, ...]) -> tuple[TableCell, ...]:
    """What the most frequent label alone would score: the line that a useful model must beat."""
    dash = TableCell(text="-")
    figures = (constant.metrics.get(m.name) for m in metrics)
    return (
        TableCell(text=constant_name(constant), below="the most frequent label", sort="~"),
        *(
            TableCell(text=NOT_APPLICABLE) if f is None else TableCell(text=number(f, m), sort=f)
            for m, f in zip(metrics, figures, strict=True)
        ),
        *(dash,) * 8,
    )


def runs_of(candidate: BoardCandidate, rows: RowSet) -> Grid:
    """A candidate's runs, the newest first."""
    metrics = metrics_of_runs(rows.runs, rows.metric)
    columns = (
        TableColumn(title="run", numeric=False, hint="short id, time in UTC, commit"),
        heading(metrics[0]),
        TableColumn(title="change", hint="from the run before it, with a 95 % interval"),
        TableColumn(title="also changed", numeric=False, hint="what was not the same in the run before it"),
        *map(heading, metrics[1:]),
        TableColumn(title="gate", numeric=False),
        TableColumn(title="adapter", numeric=False),
        TableColumn(title="p95", hint="latency, one request at a time: 95 % of the answers came faster"),
        TableColumn(title="$ per 1,000", hint="list price of 1,000 answers"),
        TableColumn(title="rows"),
    )
    body = tuple(
        (
            run_cell(one.run),
            figure(one.result.metrics, metrics[0]),
            change_cell(one, metrics[0]),
            words_cell(", ".join(one.differs) or ("-" if one.before else "first run")),
            *(figure(one.result.metrics, m) for m in metrics[1:]),
            gate_cell(one),
            words_cell(visible_line(one.result.adapter or "-", 60)),
            latency_cells(one.result)[1],
            money_cell(one.result.cost.per_1000),
            TableCell(text=f"{one.run.summary.rows:,}", sort=float(one.run.summary.rows)),
        )
        for one in candidate.runs
    )
    return Grid(caption=f"Runs of {visible_line(candidate.name)}", columns=columns, rows=body, sortable=True)


def candidate_cell(candidate: BoardCandidate, run: CandidateRun) -> TableCell:
    """A candidate with its model and the adapter of one run."""
    below = [visible_line(candidate.model, 60)]
    if run.result.adapter:
        below.append(f"adapter {visible_line(run.result.adapter, 60)}")
    identity = run.run.manifest.backends.get(candidate.name)
    if identity is not None and identity.retired:
        below.append(f"shut down {visible_line(identity.retired)}")
    return TableCell(text=visible_line(candidate.name), below=" · ".join(below), sort=candidate.name.casefold())


def change_cell(run: CandidateRun, metric: Metric) -> TableCell:
    """A change of the metric; green or red where its interval leaves 0 out."""
    change = run.change
    if change is None or change.value is None:
        return TableCell(text="-")
    sign = "+" if change.value >= 0 else "-"
    span = interval(change, metric)
    return TableCell(
        text=f"{sign}{number(abs(change.value), metric)}",
        note=span,
        sort=change.value,
        tone=_change_tone(change, metric),
    )


def _change_tone(change: Estimate, metric: Metric) -> str:
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return ""
    return "good" if (change.low > 0) == (metric.direction == "higher") else "bad"


def gate_cell(run: CandidateRun) -> TableCell:
    """The gate's verdict, or a dash."""
    verdict = run.gate
    if verdict is None:
        return TableCell(text="-")
    return TableCell(text=WORDS[verdict].lower(), sort=verdict, tone=TONES.get(verdict, "even"))


def short_id(run_id: str) -> str:
    """The last part of a run's id, which names it on the command line."""
    return run_id.rpartition("-")[2]


def run_cell(run: RunFacts) -> TableCell:
    """A run by its short id, with its time to the second and the commit."""
    manifest = run.manifest
    below = [to_the_second(manifest.created) or visible_line(manifest.id)]
    if manifest.git:
        below.append(f"commit {visible_line(short_commit(manifest.git))}")
    return TableCell(
        text=visible_line(short_id(manifest.id), 24),
        below="\n".join(below),
        sort=f"{manifest.created} {manifest.id}",
        href=run.page,
    )


def short_commit(git: str) -> str:
    """Seven digits of a commit, and whether files differed from it."""
    commit, _, dirty = git.partition("-")
    return commit[:7] + (f"-{dirty}" if dirty else "")
