"""The gate in a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .records import GateResult
from .untrusted import one_line
from .words import WORDS, bound, change, figure, interval

STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "advisory": "dim"}


def show(result: GateResult, console: Console) -> None:
    """What was compared, what the rows resolve, every check, and the verdict last."""
    for candidate, reference in result.sides:
        pair = f"{_who(candidate.backend, candidate.model)} against {_who(reference.backend, reference.model)}"
        console.print(Text(f"{pair} of {one_line(reference.run or reference.source, 120)}"))
    if result.resolution:
        console.print(Text(result.resolution))
    if result.checks:
        console.print(_table(result))
    for line in (*result.reasons, *result.warnings):
        console.print(Text(f"! {one_line(line, 400)}", style="yellow"))
    style = STYLES.get(result.verdict, "bold red")
    console.print(Text(one_line(result.headline, 600), style=style))


def _who(backend: str, model: str) -> str:
    return f"{one_line(backend, 60)} ({one_line(model, 80)})"


def _table(result: GateResult) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for title in ("check", "candidate", "reference", "change, 90 %", "margin", "verdict"):
        table.add_column(title, justify="left" if title in ("check", "verdict") else "right")
    for check in result.checks:
        table.add_row(
            Text(one_line(check.name, 120)),
            figure(check, check.candidate),
            figure(check, check.reference),
            Text(f"{change(check, check.difference)} {interval(check)}".strip()),
            bound(check),
            Text(WORDS[check.verdict], style=STYLES.get(check.verdict, "bold red")),
        )
    return table
