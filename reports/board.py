"""`bench leaderboard RUNS...`: a static site for any web host: an index, a page per run, and how figures moved."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from harness.files import write_whole
from harness.metrics import Metric
from harness.results import Summary
from harness.runlog import RunLog
from harness.summary.stored_verdict import by_rank

from .answer import answer
from .environment import render
from .finished import summary_of
from .grid import Cell, Column, Grid
from .leading import board_columns, board_row, main_metrics
from .page import write_report
from .trend import trend
from .visible import one_line
from .words import moment, plural


class Entry(NamedTuple):
    """A run, its summary, and the name of its page."""

    log: RunLog
    summary: Summary
    page: str


class TaskBoard(NamedTuple):
    """All runs of one task: the newest run's sentence, and a row per backend and run."""

    task: str
    sentence: str
    grid: Grid


def write_leaderboard(logs: Iterable[RunLog], out: Path, *, redact: bool = False) -> list[Path]:
    """Write `index.html`, `trend.html` and `runs/<id>.html` into `out` and return their paths.

    redact: pages of runs without rows and answers. Raises IncompleteRunError for a run without summary.
    """
    entries = _entries(logs)
    tasks = sorted({e.summary.task for e in entries})
    boards = [_board(task, [e for e in entries if e.summary.task == task]) for task in tasks]
    trends = [(task, trend(task, [(e.log.manifest, e.summary) for e in reversed(entries)])) for task in tasks]
    moved = [(task, chart) for task, chart in trends if chart is not None]
    index = render("leaderboard.html.j2", scripts=("tables.js", "tasks.js"), boards=boards, trends=bool(moved))
    written = [out / "index.html"]
    write_whole(written[0], index.encode())
    if moved:
        written.append(out / "trend.html")
        write_whole(written[-1], render("trend.html.j2", scripts=("tables.js",), trends=moved).encode())
    written += [write_report(e.log, out / e.page, redact=redact) for e in entries]
    return written


def _entries(logs: Iterable[RunLog]) -> list[Entry]:
    """Newest first; two runs of one id get pages of their own."""
    entries: list[Entry] = []
    pages: set[str] = set()
    for log in sorted(logs, key=lambda x: (x.manifest.created, x.manifest.id), reverse=True):
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", log.manifest.id).strip(".") or "run"
        page, k = f"runs/{stem}.html", 1
        while page in pages:
            k += 1
            page = f"runs/{stem}-{k}.html"
        pages.add(page)
        entries.append(Entry(log, summary_of(log), page))
    return entries


def _board(task: str, entries: list[Entry]) -> TaskBoard:
    metrics = _metrics(entries)
    rank, backend, *others = board_columns(metrics)
    run = Column(title="run", numeric=False, hint="ranks hold within a run: other runs may have other rows")
    rows = [_row(entry, name, metrics) for entry in entries for name in by_rank(entry.summary)]
    grid = Grid(
        caption=f"Leaderboard of {one_line(task)}",
        columns=(rank, backend, run, *others),
        rows=tuple(rows),
        sortable=True,
    )
    return TaskBoard(one_line(task), answer(entries[0].summary).sentence, grid)


def _row(entry: Entry, name: str, metrics: tuple[Metric, ...]) -> tuple[Cell, ...]:
    summary = entry.summary
    rank, backend, *others = board_row(summary, name, entry.log.manifest.backends.get(name), metrics)
    label = one_line(str(summary.data.get("label") or summary.data.get("source") or ""), 40)
    below = " · ".join(t for t in (plural(summary.rows, "row"), label) if t)
    when = moment(summary.created) or one_line(summary.run)
    run = Cell(text=when, below=below, sort=f"{summary.created} {summary.run}", href=entry.page)
    return (rank, backend, run, *others)


def _metrics(entries: list[Entry]) -> tuple[Metric, ...]:
    """The main metrics of all runs of a task, each once, in the order of the newest run."""
    found: dict[str, Metric] = {}
    for entry in entries:
        for metric in main_metrics(entry.summary):
            found.setdefault(metric.name, metric)
    return tuple(found.values())
