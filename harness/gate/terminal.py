"""The gate in a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .records import CheckResult, GateResult
from .untrusted import one_line
from .words import SCOPES, WORDS, figure

STYLES = {"pass": "green", "unchanged": "cyan", "fail": "bold red", "inconclusive": "yellow", "advisory": "dim"}


def show(result: GateResult, console: Console) -> None:
    """What was compared, what the rows resolve, every check, and the verdict last."""
    for candidate, reference in result.sides:
        pair = f"{_who(candidate.backend, candidate.model)} against {_who(reference.backend, reference.model)}"
        console.print(Text(f"{pair} of {one_line(reference.run or reference.source, 120)}"))
    for line in result.sentences:
        console.print(Text(one_line(line, 600), style="bold"))
    if result.resolution:
        console.print(Text(result.resolution))
    if result.checks:
        console.print(_table(result))
    for line in (*result.reasons[1:], *result.warnings):  # the headline is the first reason
        console.print(Text(f"! {one_line(line, 400)}", style="yellow"))
    for line in result.notes:
        console.print(Text(one_line(line, 400), style="dim"))
    style = STYLES.get(result.verdict, "bold red")
    console.print(Text(one_line(result.headline, 600), style=style))


def _who(backend: str, model: str) -> str:
    return f"{one_line(backend, 60)} ({one_line(model, 80)})"


def _table(result: GateResult) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("finding")
    several = len({check.backend for check in result.checks}) > 1
    for check in result.checks:
        name = f"{check.backend}: {check.metric}" if several else check.metric
        name += SCOPES[check.scope]
        table.add_row(
            Text(WORDS[check.verdict], style=STYLES.get(check.verdict, "bold red")),
            Text(one_line(name, 60)),
            Text(_finding(check)),
        )
    return table


def _finding(check: CheckResult) -> str:
    """Both figures before the sentence, where there are two."""
    if check.candidate is None or check.reference is None:
        return check.sentence
    return f"{figure(check, check.candidate)}, reference {figure(check, check.reference)}: {check.sentence}"
