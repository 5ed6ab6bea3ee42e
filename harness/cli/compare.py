"""`bench compare A B`: two runs side by side, on the rows they share."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.completion import runs
from harness.cli.options import json_option, quiet_option
from harness.cli.rooms import load

if TYPE_CHECKING:
    from rich.console import Console

    from harness.gate.versus import Versus


@click.command()
@click.argument("a", metavar="A", shell_complete=runs)
@click.argument("b", metavar="B", shell_complete=runs)
@click.option("--candidate", metavar="NAME", help="The backend of A (default: all that bear one name in both).")
@click.option("--reference", metavar="NAME", help="The backend of B it is compared with.")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the comparison as a page.",
)
@click.option("--redact", is_flag=True, help="The page without rows and answers, for sharing.")
@json_option
@quiet_option
def compare(
    a: str,
    b: str,
    candidate: str | None,
    reference: str | None,
    out: Path | None,
    redact: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compare two runs row by row, with intervals and paired tests; says which rows were left out.

    \b
    bench compare last 3f2a
    """
    import msgspec
    from rich.console import Console

    from harness.gate.judge import Source
    from harness.gate.versus import versus
    from harness.runlog import RunLog
    from harness.workspace import Workspace

    workspace = Workspace.current()
    logs = [RunLog.open(workspace.find_run(word)) for word in (a, b)]
    found = versus(Source.of_run(logs[0]), Source.of_run(logs[1]), candidate, reference)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    people = Console(stderr=as_json, quiet=as_json and quiet)
    _show(found, people)
    if out is not None:
        load("harness.reports.versus:write_compare")(found, *logs, out, redact=redact)
    if out is not None and not quiet:
        people.print(str(out), markup=False, highlight=False, soft_wrap=True)
    return 0


def _show(found: "Versus", console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    resolves = f"; they resolve {100 * found.resolves:.1f} points" if found.resolves is not None else ""
    console.print(Text(f"{found.task}: {found.rows:,} rows in common{resolves}."))
    for x, y in found.sides:
        names = (f"{x.backend} of {x.run}", f"{y.backend} of {y.run}")
        console.print(Text(f"\na = {names[0]} ({x.model})\nb = {names[1]} ({y.model})"))
        table = Table(show_edge=False, pad_edge=False)
        for title in ("metric", "a", "b", "a - b, 95 %", "p", "p, Holm", "verdict"):
            table.add_column(title, justify="left" if title in ("metric", "verdict") else "right")
        for pair in (p for p in found.pairs if (p.a, p.b) == names):
            d = pair.difference
            span = "" if d.low is None or d.high is None else f" [{d.low:+.4f}, {d.high:+.4f}]"
            table.add_row(
                Text(pair.metric),
                f"{x.figures[pair.metric]:.4f}",
                f"{y.figures[pair.metric]:.4f}",
                Text(f"{d.value:+.4f}{span}"),
                f"{pair.p:.3g}",
                f"{pair.p_holm:.3g}",
                pair.verdict,
            )
        console.print(table)
    for note in found.notes:
        console.print(Text(f"! {note}", style="yellow"))
