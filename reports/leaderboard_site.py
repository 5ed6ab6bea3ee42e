"""The leaderboard as a static site: pages, history of candidates, badges and a Markdown table."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from markupsafe import Markup

from harness.files import write_whole
from harness.gating.gate_result import WORDS
from harness.metrics import Estimate, Metric
from harness.records import Record
from harness.reports.candidate_table import best_runs, row_set_title, runs_of, short_id
from harness.reports.exports import markdown_table, markdown_text
from harness.reports.jinja_env import environment, render
from harness.reports.leaderboard_runs import run_facts
from harness.reports.run_page import write_report
from harness.reports.svg_canvas import text_width
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid
from harness.reports.trend_chart import trend
from harness.reports.verdict_section import cascade_line, verdict_section
from harness.runs.run_log import RunLog
from harness.summary.candidate_history import BoardCandidate, RowSet, RunFacts, row_sets
from harness.text_format import figure_of, to_the_second
from harness.text_sanitize import visible_line

COLOURS = {"good": "#0a6640", "bad": "#a8321a", "even": "#6b4d00", "": "#3a4a5c"}
"""Of the right half, 5:1 or more against white text: by the gate's verdict, the last where there is none."""

TONES = {"pass": "good", "unchanged": "good", "inconclusive": "even", "fail": "bad", "incomparable": "bad"}
FONT_SIZE = 11
"""Pixels, of DejaVu Sans (as wide as Verdana)."""
PADDING = 12
"""Pixels beside and between the two texts."""


def badge(left: str, right: str, tone: str = "") -> str:
    """A badge as SVG: what is measured on the left, the figure on the right. tone: a key of COLOURS."""
    left, right = visible_line(left, 60), visible_line(right, 60)
    sizes = [round(text_width(text, FONT_SIZE), 1) for text in (left, right)]
    page = environment().get_template("badge.svg.j2")
    return Markup(page.render(left=left, right=right, sizes=sizes, padding=PADDING, colour=COLOURS[tone]))


def candidate_badge(candidate: BoardCandidate, rows: RowSet) -> str:
    """The newest figure of a candidate, coloured by the gate's verdict on it."""
    newest = candidate.newest
    figure = newest.figure(rows.metric)
    shown = figure_of(Estimate(value=figure.value) if figure else None, rows.metric)
    gate = newest.gate
    right = f"{shown} · {WORDS[gate].lower()}" if gate else shown
    task = rows.runs[0].summary.task
    return badge(f"{task} · {candidate.name}", right, TONES.get(gate or "", "even") if gate else "")


def badge_name(task: str, candidate: BoardCandidate, taken: set[str]) -> str:
    """A file name for a candidate's badge that nothing in `taken` has, which it is added to."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{task}-{candidate.name}").strip(".-") or "candidate"
    name, k = f"{stem}.svg", 1
    while name in taken:
        k += 1
        name = f"{stem}-{k}.svg"
    taken.add(name)
    return name


Pages = Literal["board", "all"]


class CandidateRecord(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A candidate of the leaderboard, for machines.

    task, candidate, model, decode, adapter: what it is. rows: of the run, of the set `row_set` (two runs of one set
    asked the same rows). metric, value, low, high: its best figure. run, created, commit: the run of that figure.
    gate: the gate's verdict on it. runs: how many it has on these rows. change: from the last run but one to the last
    run, with a 95 % interval. cost_per_1000, training: USD. p50_s, p95_s: seconds, one request at a time.
    """

    task: str
    candidate: str
    model: str
    decode: str
    adapter: str | None
    rows: int
    row_set: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    run: str
    created: str
    commit: str | None
    gate: str | None
    runs: int
    change: Estimate | None
    cost_per_1000: float | None
    training: float | None
    p50_s: float | None
    p95_s: float | None


class Site(NamedTuple):
    """What was written: paths, the index first; and the candidates as records."""

    paths: list[Path]
    candidates: list[CandidateRecord]


class Board(NamedTuple):
    """One set of rows: its name, the newest run in a sentence, and the best run of each candidate."""

    title: str
    newest: str
    sentence: str
    grid: Grid


class TaskBoards(NamedTuple):
    """A task: a board for each set of rows, the newest first."""

    task: str
    boards: list[Board]


class CandidateHistory(NamedTuple):
    """A candidate's runs on one set of rows; anchor: of its part of the page."""

    anchor: str
    title: str
    rows: str
    grid: Grid


class TaskHistory(NamedTuple):
    """A task over time: a chart for two runs or more, and the runs of its candidates."""

    task: str
    chart: Chart | None
    histories: list[CandidateHistory]


def write_leaderboard(
    logs: Iterable[RunLog],
    out: Path,
    *,
    redact: bool = False,
    pages: Pages = "board",
    whole: Callable[[RunLog], RunLog] = lambda log: log,
) -> Site:
    """Write `index.html`, `trend.html`, `runs/<id>.html`, `badges/*.svg` and `leaderboard.md` into `out`.

    redact: pages of runs without rows and answers. pages: "board" writes a page for the best and the newest run of each
    candidate on the newest rows, and keeps those that an earlier call wrote for others; "all" writes one for every run.
    whole: gives the run of a page with its rows, where the log given has none.

    Raises IncompleteRunError for a run without summary.
    """
    found = run_facts(logs)
    tasks = sorted({facts.summary.task for _, facts in found})
    sets = {task: row_sets(facts for _, facts in found if facts.summary.task == task) for task in tasks}
    shown = {run.page for some in sets.values() for run in _of_the_board(some[0])}
    if pages == "all":
        shown = {facts.page for _, facts in found}
    elif redact:  # a page that is there already may hold rows
        shown |= {facts.page for _, facts in found if (out / facts.page).exists()}
    written = [write_report(whole(log), out / facts.page, redact=redact) for log, facts in found if facts.page in shown]
    sets = {task: [_linked(rows, out) for rows in some] for task, some in sets.items()}
    return Site(
        [*_indexes(sets, out), *written],
        [_record(rows, c) for s in sets.values() for rows in s for c in rows.candidates],
    )


def _of_the_board(rows: RowSet) -> list[RunFacts]:
    return [run.run for candidate in rows.candidates for run in (candidate.best, candidate.newest)]


def _linked(rows: RowSet, out: Path) -> RowSet:
    """The same rows; runs without a page lose its name."""
    missing = {run.page for run in rows.runs if not (out / run.page).is_file()}
    return rows.without_pages(missing)


def _indexes(sets: dict[str, list[RowSet]], out: Path) -> list[Path]:
    """Index, history, badges and Markdown table."""
    histories = [_task_history(k, task, some) for k, (task, some) in enumerate(sets.items())]
    several = any(history.chart is not None for history in histories)
    boards = [
        TaskBoards(visible_line(task), [_board(rows, _addresses(k, i, rows, several)) for i, rows in enumerate(some)])
        for k, (task, some) in enumerate(sets.items())
    ]
    written = [out / "index.html"]
    page = render("leaderboard.html.j2", scripts=("tables.js", "tasks.js"), tasks=boards, trends=several)
    write_whole(written[0], page.encode())
    if several:
        written.append(out / "trend.html")
        write_whole(written[-1], render("trend.html.j2", scripts=("tables.js",), histories=histories).encode())
    return [*written, *_for_readmes(sets, boards, out)]


def _board(rows: RowSet, addresses: dict[tuple[str, str], str]) -> Board:
    newest = rows.runs[0]
    when = f"{visible_line(short_id(newest.manifest.id), 24)}, {to_the_second(newest.manifest.created)}"
    said = f"{verdict_section(newest.summary).sentence} {cascade_line(newest.summary)}".rstrip()
    return Board(row_set_title(rows), when, said, best_runs(rows, addresses))


def _anchor(task: int, rows: int, candidate: int) -> str:
    return f"c{task}-{rows}-{candidate}"


def _addresses(task: int, number: int, rows: RowSet, several: bool) -> dict[tuple[str, str], str]:
    """Where the runs of each candidate are, by its name and model; nowhere without a history page."""
    if not several:
        return {}
    return {(c.name, c.model): f"trend.html#{_anchor(task, number, i)}" for i, c in enumerate(rows.candidates)}


def _task_history(number: int, task: str, sets: list[RowSet]) -> TaskHistory:
    runs = sorted((run for rows in sets for run in rows.runs), key=lambda r: (r.manifest.created, r.manifest.id))
    chart = trend(task, [(run.manifest, run.summary) for run in runs])
    histories = [
        CandidateHistory(
            _anchor(number, k, i),
            f"{visible_line(c.name)} · {visible_line(c.model, 60)}",
            row_set_title(rows),
            runs_of(c, rows),
        )
        for k, rows in enumerate(sets)
        for i, c in enumerate(rows.candidates)
    ]
    return TaskHistory(visible_line(task), chart, histories)


def _for_readmes(sets: dict[str, list[RowSet]], boards: list[TaskBoards], out: Path) -> list[Path]:
    """A badge for each candidate of the newest rows of each task, and the tables in Markdown."""
    written, parts, taken = [], [], set[str]()
    for (task, some), of_task in zip(sets.items(), boards, strict=True):
        images = []
        for candidate in some[0].candidates:
            name = badge_name(task, candidate, taken)
            write_whole(out / "badges" / name, candidate_badge(candidate, some[0]).encode())
            written.append(out / "badges" / name)
            images.append(f"![{markdown_text(candidate.name)}](badges/{name})")
        board = of_task.boards[0]
        parts += [
            f"## {markdown_text(task)}",
            " ".join(images),
            markdown_table(board.grid),
            markdown_text(board.sentence),
        ]
    write_whole(out / "leaderboard.md", ("\n\n".join(parts) + "\n").encode())
    return [*written, out / "leaderboard.md"]


def _record(rows: RowSet, candidate: BoardCandidate) -> CandidateRecord:
    best = candidate.best
    metric: Metric = rows.metric
    figure = best.figure(metric) or Estimate(value=None)
    result, probe = best.result, best.result.probe
    return CandidateRecord(
        task=best.run.summary.task,
        candidate=candidate.name,
        model=result.model,
        decode=result.decode,
        adapter=result.adapter,
        rows=best.run.summary.rows,
        row_set=rows.key,
        metric=metric.name,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        run=best.run.manifest.id,
        created=best.run.manifest.created,
        commit=best.run.manifest.git,
        gate=best.gate,
        runs=len(candidate.runs),
        change=candidate.newest.change,
        cost_per_1000=result.cost.per_1000,
        training=result.cost.training,
        p50_s=None if probe is None else probe.p50_s,
        p95_s=None if probe is None else probe.p95_s,
    )
