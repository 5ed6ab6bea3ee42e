"""`bench leaderboard RUNS...`: a static site: an index, a page per run, and trends."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.files import write_whole
from harness.metrics import Metric, title
from harness.reports.exports import summary_of
from harness.reports.jinja_env import render
from harness.reports.leaderboard_rows import board_columns, board_row, heading, main_metrics
from harness.reports.leaderboard_rows import figure as figure_cell
from harness.reports.run_page import write_report
from harness.reports.svg_charts import INK, MUTED, Chart, Look, draw, label, looks
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.reports.verdict_section import verdict_section
from harness.results import Estimate, Summary
from harness.runs.run_log import Manifest, RunLog
from harness.summary.stored_verdict import by_rank, headline_metric
from harness.text_format import is_share, moment, plural
from harness.text_sanitize import visible_line

MOST_NAMES = 10
"""Dates below the axis; more would run into each other."""

Point = tuple[int, Estimate]


def trend(task: str, runs: Sequence[tuple[Manifest, Summary]]) -> Chart | None:
    """One curve per backend over the runs of a task, oldest first; None for fewer than two runs.

    A curve is joined only between runs that asked the same rows in the same words.
    """
    mine = [(m, s) for m, s in runs if s.task == task]
    if len(mine) < 2:
        return None
    metric = headline_metric(mine[-1][1])
    names = list(dict.fromkeys(n for _, s in mine for n in s.backends))
    breaks = [i for i in range(1, len(mine)) if _key(mine[i][0]) != _key(mine[i - 1][0])]
    seen = looks(names)

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        for name in names:
            _curve(ax, _points(mine, name, metric), breaks, metric, seen[name], label(name))
        for i in breaks:
            ax.axvline(i - 0.5, color=MUTED, lw=1, ls=":")
        step = -(-len(mine) // MOST_NAMES)
        ticks = list(range(0, len(mine), step))
        ax.set_xticks(ticks, [moment(mine[i][1].created) or label(mine[i][1].run, 12) for i in ticks])
        ax.set_xlim(-0.5, len(mine) - 0.5)
        ax.set_ylabel(heading(metric).title)
        ax.grid(visible=False, axis="x")
        ax.tick_params(length=0)
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=4, labelcolor=INK)

    note = " A dotted line marks where rows or prompts changed: across it figures cannot be compared." if breaks else ""
    columns = (TableColumn(title="run", numeric=False), *(TableColumn(title=visible_line(n)) for n in names))
    rows = tuple(
        (
            TableCell(text=visible_line(f"{moment(s.created)} {s.run}".strip())),
            *(figure_cell(s.backends[n].metrics if n in s.backends else {}, metric) for n in names),
        )
        for _, s in mine
    )
    return Chart(
        name="trend-" + "".join(c if c.isalnum() else "-" for c in task),
        title=f"{visible_line(task)}: {title(metric.name)} over time",
        caption=f"{heading(metric).title} of each run with its 95 % interval, oldest on the left.{note}",
        grid=Grid(caption=f"{visible_line(task)}: {heading(metric).title} by run", columns=columns, rows=rows),
        figure=draw((10.5, 3.8), paint),
    )


def _key(manifest: Manifest) -> tuple[str, str]:
    """What must be equal for two runs to be comparable: the requests and the parser."""
    return manifest.request_hash, manifest.parser


def _points(runs: Sequence[tuple[Manifest, Summary]], name: str, metric: Metric) -> list[Point]:
    found = []
    for i, (_, summary) in enumerate(runs):
        result = summary.backends.get(name)
        figure = None if result is None else result.metrics.get(metric.name)
        if figure is not None and figure.value is not None:
            found.append((i, figure))
    return found


def _curve(ax: Axes, points: list[Point], breaks: list[int], metric: Metric, look: Look, name: str) -> None:
    scale = 100 if is_share(metric) else 1
    for i, e in points:
        if e.low is not None and e.high is not None:
            ax.plot([i, i], [scale * e.low, scale * e.high], color=look.colour, lw=1.2, alpha=0.7)
    for start, end in zip([0, *breaks], [*breaks, 10**9], strict=True):
        part = [(i, scale * (e.value or 0.0)) for i, e in points if start <= i < end]
        ax.plot([i for i, _ in part], [v for _, v in part], color=look.colour, ls=look.dash, marker=look.marker, ms=5)
    ax.plot([], [], color=look.colour, ls=look.dash, marker=look.marker, ms=5, label=name)


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
    run = TableColumn(title="run", numeric=False, hint="ranks hold within a run: other runs may have other rows")
    rows = [_row(entry, name, metrics) for entry in entries for name in by_rank(entry.summary)]
    grid = Grid(
        caption=f"Leaderboard of {visible_line(task)}",
        columns=(rank, backend, run, *others),
        rows=tuple(rows),
        sortable=True,
    )
    return TaskBoard(visible_line(task), verdict_section(entries[0].summary).sentence, grid)


def _row(entry: Entry, name: str, metrics: tuple[Metric, ...]) -> tuple[TableCell, ...]:
    summary = entry.summary
    rank, backend, *others = board_row(summary, name, entry.log.manifest.backends.get(name), metrics)
    label = visible_line(str(summary.data.get("label") or summary.data.get("source") or ""), 40)
    below = " · ".join(t for t in (plural(summary.rows, "row"), label) if t)
    when = moment(summary.created) or visible_line(summary.run)
    run = TableCell(text=when, below=below, sort=f"{summary.created} {summary.run}", href=entry.page)
    return (rank, backend, run, *others)


def _metrics(entries: list[Entry]) -> tuple[Metric, ...]:
    """The main metrics of all runs of a task, each once, in the order of the newest run."""
    found: dict[str, Metric] = {}
    for entry in entries:
        for metric in main_metrics(entry.summary):
            found.setdefault(metric.name, metric)
    return tuple(found.values())
