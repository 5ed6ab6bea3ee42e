"""The terminal table of `bench monitor`: a line for each run, then what the series says."""

from rich.console import Console
from rich.text import Text

from harness.gating.monitoring import MonitorResult, monitor_sentence
from harness.metrics import title
from harness.reports.terminal_table import new_table
from harness.text_format import count
from harness.text_sanitize import visible_line


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
