"""The final table of a run in the terminal: verdict first, quality, then speed and cost, in the columns there are."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.gating.monitoring import MonitoredRun, MonitorResult, monitor_sentence
from harness.metrics import Metric, title
from harness.reports.leaderboard_rows import constant_name, latency_cells, training_cell
from harness.reports.verdict_section import question_and_answer, verdict_section
from harness.results import Summary
from harness.summary.stored_verdict import by_rank, ranking, stored_verdict
from harness.text_format import (
    NOT_APPLICABLE,
    count,
    estimate,
    listing,
    moment,
    money,
    number,
    p_value,
    plural,
    rate,
    unit,
)
from harness.text_sanitize import visible_line

SHOWN = 3
CAUTIONS = 6
"""Metrics (the task's first ones) and cautions in the terminal. The HTML report shows all."""

GAP = 2
"""Blanks between two columns."""

FOLDED = 10
"""Columns of the terminal that a name keeps when it is folded; 24 at most."""


class TerminalColumn(NamedTuple):
    """A column of a terminal table. folds: its cells may take several lines; all others are never cut or broken."""

    heading: str
    cells: Sequence[str | Text]
    numeric: bool = True
    folds: bool = False

    def least(self) -> int:
        """The width below which a cell, or a word of the heading, would be cut."""
        longest = max((cell_len(str(cell)) for cell in self.cells), default=0)
        word = max(map(cell_len, self.heading.split()), default=0)
        return max(min(longest, FOLDED) if self.folds else longest, word)

    def natural(self) -> int:
        """The width on which nothing is folded."""
        longest = max((cell_len(str(cell)) for cell in (self.heading, *self.cells)), default=0)
        return min(longest, 24) if self.folds else longest


def fitting_table(columns: Sequence[TerminalColumn], width: int, *, kept: int) -> tuple[Table, list[str]]:
    """The table of as many columns as fit `width`, and the headings of those left out, from the right.

    The first `kept` columns are always shown. Headings and folding columns give way before a column is left out.
    """
    shown = list(columns)
    while len(shown) > kept and _sum(column.least() for column in shown) > width:
        shown.pop()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), collapse_padding=True)
    tight = _sum(column.natural() for column in shown) > width
    spare = width - _sum(column.least() for column in shown)
    for column in shown:
        size = None
        if tight:
            more = max(0, min(spare, column.natural() - column.least())) if column.folds else 0
            size, spare = column.least() + more, spare - more
        table.add_column(
            column.heading,
            justify="right" if column.numeric else "left",
            overflow="fold",
            width=size,
            max_width=24 if column.folds else None,
        )
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*cells)
    return table, [column.heading for column in columns[len(shown) :]]


def no_room(hidden: list[str]) -> str:
    """What a table leaves out in so narrow a terminal."""
    return f"no room for {', '.join(hidden)}: widen the terminal."


def _sum(widths: Iterable[int]) -> int:
    sizes = list(widths)
    return sum(sizes) + GAP * (len(sizes) - 1)


def print_summary(summary: Summary, console: Console) -> None:
    """Print what a run found: one sentence, two tables, the format errors by kind, then the cautions.

    Fits 80 columns; on anything but a terminal it is plain text without control codes.
    """
    said, verdict = verdict_section(summary), stored_verdict(summary)
    console.print()
    console.print(Text(_where(summary), style="dim"))
    if verdict is not None:
        console.print(Text(f"{' '.join(question_and_answer(verdict))}.", style="bold"))
    console.print(Text(said.sentence, style="bold"))
    for line in said.details:
        console.print(Text(line))
    console.print()
    table, hidden = _quality(summary, console.width)
    console.print(table)
    for line in filter(None, (_legend(summary, len(hidden)), _not_shown(summary, len(hidden)))):
        console.print(Text(line, style="dim"))
    console.print()
    table, hidden = _speed(summary, console.width)
    console.print(table)
    for line in _speed_notes(summary, hidden):
        console.print(Text(line, style="dim"))
    console.print()
    for line in _format_errors(summary):
        console.print(Text(line))
    for caution in said.cautions[:CAUTIONS]:
        console.print(Text(f"! {caution}", style="yellow"))
    if len(said.cautions) > CAUTIONS:
        console.print(Text(f"! {len(said.cautions) - CAUTIONS} more in the report", style="yellow"))


def _where(summary: Summary) -> str:
    parts = [summary.task, plural(summary.rows, "row")]
    if summary.repeats > 1:
        parts[-1] += f" x {summary.repeats}"
    label = summary.data.get("label") or summary.data.get("source")
    return " · ".join(visible_line(str(p), 60) for p in (*parts, *([label] if label else []), summary.run))


def _metrics(summary: Summary) -> tuple[Metric, ...]:
    return summary.metrics[:SHOWN]


def _quality(summary: Summary, width: int) -> tuple[Table, list[str]]:
    """Rank, backend and the first metrics; and the headings of those for which there is no room."""
    ranks, names, constant = ranking(summary), by_rank(summary), summary.constant
    last = [] if constant is None else [Text(constant_name(constant), style="dim")]
    columns = [
        TerminalColumn("rank", [*(ranks.get(name, "") for name in names), *("" for _ in last)], numeric=False),
        TerminalColumn("backend", [*(Text(visible_line(name)) for name in names), *last], numeric=False, folds=True),
    ]
    for metric in _metrics(summary):
        cells = [estimate(summary.backends[name].metrics.get(metric.name), metric) for name in names]
        if constant is not None:
            known = metric.name in constant.metrics
            cells.append(number(constant.metrics[metric.name], metric) if known else NOT_APPLICABLE)
        columns.append(TerminalColumn(f"{title(metric.name)} {unit(metric)}".rstrip(), cells))
    return fitting_table(columns, width, kept=3)


def _legend(summary: Summary, hidden: int) -> str:
    """What the brackets are, metric by metric where they differ, and what a shared place means."""
    methods: dict[str, list[str]] = {}
    shown = _metrics(summary)
    for metric in shown[: len(shown) - hidden]:
        for result in summary.backends.values():
            found = result.metrics.get(metric.name)
            if found is not None and found.low is not None and found.method:
                names = methods.setdefault(found.method, [])
                if title(metric.name) not in names:
                    names.append(title(metric.name))
    said = [f"{', '.join(names)}: {method}" for method, names in methods.items()]
    parts = [f"[low, high] {'; '.join(said)}"] if said else []
    if any(" " in rank for rank in ranking(summary).values()):
        parts.append("same letter: no significant difference")
    return "; ".join(parts)


def _not_shown(summary: Summary, hidden: int) -> str:
    """ "5 more metrics in `bench report last`: macro-F1; .."; empty where all are shown. hidden: of _metrics."""
    others = summary.metrics[len(_metrics(summary)) - hidden :]
    if not others:
        return ""
    names = "; ".join(title(metric.name) for metric in others)  # a name may hold a comma
    return f"{plural(len(others), 'more metric')} in the page of `bench report {_short_id(summary)}`: {names}."


def _short_id(summary: Summary) -> str:
    return visible_line(summary.run.rpartition("-")[2] or "last", 40)


def _speed(summary: Summary, width: int) -> tuple[Table, list[str]]:
    """Latency, throughput and cost of each backend; and the headings for which there is no room."""
    results = {name: summary.backends[name] for name in by_rank(summary)}
    latencies = [latency_cells(result) for result in results.values()]
    figures = {
        "p50": [p50.text for p50, _ in latencies],
        "p95": [p95.text for _, p95 in latencies],
        "$/1,000": [money(result.cost.per_1000) for result in results.values()],
        "rows/s": [rate(result.load.rows_per_s) for result in results.values()],
        "this run": [money(result.cost.incurred) for result in results.values()],
        "training": [training_cell(result).text for result in results.values()],
    }
    columns = [
        TerminalColumn("backend", [Text(visible_line(name)) for name in results], numeric=False, folds=True),
        *(TerminalColumn(heading, cells) for heading, cells in figures.items()),
        TerminalColumn("decode", [result.decode for result in results.values()], numeric=False),
    ]
    return fitting_table(columns, width, kept=2)


def _speed_notes(summary: Summary, hidden: list[str]) -> list[str]:
    """How to get the figures that the table lacks: columns without room, latencies and costs not known."""
    results = summary.backends
    notes = []
    if hidden:
        notes.append(no_room(hidden))
    if results and not any(result.probe for result in results.values()):
        notes.append("p50 and p95 of one request at a time: run with --latency-probe 50.")
    unpriced = [visible_line(name) for name, result in results.items() if result.cost.per_1000 is None]
    if unpriced:
        names = f"{listing(unpriced[:3])}{f' and {len(unpriced) - 3} more' if len(unpriced) > 3 else ''}"
        notes.append(
            f"no price of {names}: set price (an API) or device_hour_usd (your own device) in [backends.NAME] of "
            "bench.toml."
        )
    return notes


def _format_errors(summary: Summary) -> list[str]:
    lines = []
    for name in by_rank(summary):
        kinds = summary.backends[name].format_errors
        if kinds:
            listed = ", ".join(
                f"{visible_line(k)} {count(v)}" for k, v in sorted(kinds.items(), key=lambda i: (-i[1], i[0]))
            )
            lines.append(f"format errors of {visible_line(name)}: {listed}")
    return lines


def print_monitor(result: MonitorResult, console: Console) -> None:
    """Print a series of runs: new rows, figures on them, and how strongly the promise is refuted so far."""
    console.print(Text(visible_line(f"{result.task}: {title(result.metric)} of {result.candidate}", 300), style="bold"))
    runs = result.runs
    columns = [
        TerminalColumn("run", [_run(run, result.alarm) for run in runs], numeric=False, folds=True),
        TerminalColumn(_heading(result, "candidate"), [_figure(run.candidate, result) for run in runs]),
        *(
            [TerminalColumn(_heading(result, "reference"), [_figure(run.reference, result) for run in runs])]
            if result.reference
            else []
        ),
        TerminalColumn("p so far", [p_value(run.p) for run in runs]),
        TerminalColumn("new rows", [count(run.rows) for run in runs]),
        TerminalColumn("repeated", [count(run.repeated) for run in runs]),
        TerminalColumn("time", [moment(run.created) for run in runs], numeric=False),
    ]
    table, hidden = fitting_table(columns, console.width, kept=2)
    console.print(table)
    if hidden:
        console.print(Text(no_room(hidden), style="dim"))
    console.print(Text(visible_line(monitor_sentence(result), 600), style="bold"))


def _run(run: MonitoredRun, alarm: str | None) -> Text:
    return Text(visible_line(run.run, 40), style="bold red" if run.run == alarm else "")


def _heading(result: MonitorResult, side: str) -> str:
    return f"{side} %" if result.in_points else side


def _figure(value: float | None, result: MonitorResult) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if result.in_points else f"{value:.3g}"
