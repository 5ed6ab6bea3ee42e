"""The final table of a run in the terminal: verdict first, quality, then speed and cost, within 80 columns."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.gating.monitoring import MonitorResult, monitor_sentence
from harness.metrics import Metric, title
from harness.reports.leaderboard_rows import constant_name, latency_cells, training_cell
from harness.reports.verdict_section import verdict_section
from harness.results import Summary
from harness.summary.stored_verdict import by_rank, ranking
from harness.text_format import NOT_APPLICABLE, count, estimate, money, number, plural, rate, unit
from harness.text_sanitize import visible_line

SHOWN = 3
CAUTIONS = 6
"""Metrics (the task's first ones) and cautions in the terminal. The HTML report shows all."""


def print_summary(summary: Summary, console: Console) -> None:
    """Print what a run found: one sentence, two tables, the format errors by kind, then the cautions.

    Fits 80 columns; on anything but a terminal it is plain text without control codes.
    """
    said = verdict_section(summary)
    console.print()
    console.print(Text(_where(summary), style="dim"))
    console.print(Text(said.sentence, style="bold"))
    for line in said.details:
        console.print(Text(line))
    console.print()
    console.print(_quality(summary))
    for line in filter(None, (_legend(summary), _not_shown(summary))):
        console.print(Text(line, style="dim"))
    console.print()
    console.print(_speed(summary))
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


def new_table() -> Table:
    """A table as narrow as it gets."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), collapse_padding=True)


def _of_backends(first: str) -> Table:
    table = new_table()
    table.add_column(first, justify="left", no_wrap=True)
    table.add_column("backend", overflow="fold", max_width=24)
    return table


def _metrics(summary: Summary) -> tuple[Metric, ...]:
    return summary.metrics[:SHOWN]


def _quality(summary: Summary) -> Table:
    table, ranks = _of_backends("rank"), ranking(summary)
    for metric in _metrics(summary):
        table.add_column(f"{title(metric.name)} {unit(metric)}".rstrip(), justify="right")
    for name in by_rank(summary):
        figures = summary.backends[name].metrics
        cells = [estimate(figures.get(m.name), m) for m in _metrics(summary)]
        table.add_row(ranks.get(name, ""), Text(visible_line(name)), *cells)
    if summary.constant is not None:
        constant = summary.constant.metrics
        cells = [number(constant[m.name], m) if m.name in constant else NOT_APPLICABLE for m in _metrics(summary)]
        table.add_row("", Text(constant_name(summary.constant), style="dim"), *cells)
    return table


def _legend(summary: Summary) -> str:
    """What the brackets are, metric by metric where they differ, and what a shared place means."""
    methods: dict[str, list[str]] = {}
    for metric in _metrics(summary):
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


def _not_shown(summary: Summary) -> str:
    """ "5 more metrics in `bench report last`: macro-F1, .."; empty where all are shown."""
    others = summary.metrics[SHOWN:]
    if not others:
        return ""
    run = summary.run.rpartition("-")[2] or "last"
    names = ", ".join(title(metric.name) for metric in others)
    return f"{plural(len(others), 'more metric')} in the page of `bench report {visible_line(run, 40)}`: {names}."


def _speed(summary: Summary) -> Table:
    table = _of_backends("")
    table.add_column("decode")
    for heading in ("p50", "p95", "rows/s", "$/1,000", "this run", "training"):
        table.add_column(heading, justify="right")
    for name in by_rank(summary):
        result = summary.backends[name]
        p50, p95 = latency_cells(result)
        prices = money(result.cost.per_1000), money(result.cost.incurred), training_cell(result).text
        table.add_row(
            "", Text(visible_line(name)), result.decode, p50.text, p95.text, rate(result.load.rows_per_s), *prices
        )
    return table


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
    table = new_table()
    table.add_column("run", no_wrap=True)
    table.add_column("time", no_wrap=True)
    for heading in ("new rows", "repeated", "candidate", *(["reference"] if result.reference else []), "p so far"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in result.runs:
        figures = [run.candidate, *([run.reference] if result.reference else [])]
        table.add_row(
            visible_line(run.run, 40),
            run.created[:16].replace("T", " "),
            count(run.rows),
            count(run.repeated),
            *("-" if value is None else f"{value:.3f}" for value in figures),
            "< 0.001" if run.p < 0.001 else f"{run.p:.3f}",
            style="bold red" if run.run == result.alarm else "",
        )
    console.print(table)
    console.print(Text(visible_line(monitor_sentence(result), 600), style="bold"))
