"""`bench cascade RUN` as a page and on the terminal."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.confidence_results import CascadeResult
from harness.files import write_whole
from harness.metrics import Metric
from harness.reports.cascade_section import cascade_chart, cascade_grid
from harness.reports.cascade_sentence import cascade_details, cascade_sentence
from harness.reports.jinja_env import render
from harness.reports.terminal_table import TerminalColumn, fitting_table, no_room
from harness.runs.run_log import RunLog
from harness.summary.cascade_analysis import Question, rows_beyond_first
from harness.text_sanitize import visible_line

MOST_IDS = 500


def write_cascade(log: RunLog, question: Question, result: CascadeResult, out: Path) -> Path:
    """Write a cascade of a run to `out` and return it: a page, or its chart alone for a name in .svg or .png.

    question: the answers behind the result.
    """
    metric = question.metric
    chart = cascade_chart(result, metric)
    if out.suffix.lower() in (".svg", ".png"):
        chart = chart._replace(name=out.stem)
        from harness.reports.chart_files import save  # matplotlib, which pages do without

        written = save(chart, out.parent)
        for path in written:
            if path != out and path.suffix != out.suffix.lower():
                path.unlink()
        return out
    page = render(
        "cascade.html.j2",
        scripts=("tables.js",),
        result=result,
        task=visible_line(log.manifest.task),
        sentence=cascade_sentence(result, metric),
        details=cascade_details(result, metric),
        chart=chart,
        rows=_rows_beyond(log, question, result),
    )
    write_whole(out, page.encode())
    return out


def _rows_beyond(log: RunLog, question: Question, result: CascadeResult) -> dict[str, Any] | None:
    """Ids of rows that go beyond the first stage at the certified point, and how many these are."""
    if result.chosen is None:
        return None
    beyond = rows_beyond_first(question, result.chosen.thresholds)
    shown = set(beyond[:MOST_IDS])
    ids = [visible_line(row.sample.id) for row in log.rows() if row.n in shown]
    return {"ids": ids, "total": len(beyond)} if beyond else None


def print_cascade(result: CascadeResult, metric: Metric, console: Console) -> None:
    """The sentence, what follows from it, the table, and the cautions."""
    console.print(Text(cascade_sentence(result, metric), style="bold"))
    for line in cascade_details(result, metric):
        console.print(Text(line))
    console.print()
    grid = cascade_grid(result, metric)
    columns = [
        TerminalColumn(column.title, [Text(row[n].text) for row in grid.rows], column.numeric, folds=not column.numeric)
        for n, column in enumerate(grid.columns)
    ]
    table, hidden = fitting_table(columns, console.width, kept=2)
    console.print(table)
    if hidden:
        console.print(Text(no_room(hidden), style="dim"))
    for caution in result.cautions:
        console.print(Text(f"! {caution}", style="yellow"))
