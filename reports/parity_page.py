"""The page and the terminal text of `bench parity`."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from harness.files import write_whole
from harness.metrics import title
from harness.parity.parity_result import ParityResult
from harness.reports.jinja_env import render
from harness.reports.parity_tables import differences_table, facts, interval, metrics_table, points, sides_table
from harness.reports.terminal_table import new_table
from harness.text_format import seconds
from harness.text_sanitize import private_texts, visible_line, without_private

SHOWN = 5
"""Rows that differ, in the terminal."""


def write_parity(result: ParityResult, out: Path, *, redact: bool = False) -> Path:
    """Write the page of a parity result to `out` and return it. redact: without rows and answers, addresses and paths
    of this machine."""
    shown = msgspec.structs.replace(result, examples=()) if redact else result
    page = render(
        "parity.html.j2",
        result=shown,
        facts=facts(shown),
        metrics=metrics_table(shown),
        sides=sides_table(shown),
        differences=differences_table(shown) if shown.examples else None,
    )
    if redact:
        page = without_private(page, private_texts([shown]))
    write_whole(out, page.encode())
    return out


def print_parity(result: ParityResult, console: Console) -> None:
    """Print the verdict, agreement, metrics, findings, and the first rows that differ; within 80 columns."""
    console.print()
    names = f"{result.served.backend} against {result.reference.backend}"
    console.print(Text(visible_line(f"{result.task} · {result.rows:,} rows · {names}"), style="dim"))
    console.print(Text(result.headline, style="bold"))
    console.print()
    for name, text in facts(result):
        console.print(Text(f"{name}: {text}"))
    console.print(Text(_times(result)))
    table = new_table()
    for heading in ("metric", "reference", "served", "difference, points", "verdict"):
        table.add_column(heading, justify="left" if heading in ("metric", "verdict") else "right")
    for check in result.checks:
        table.add_row(
            title(check.metric),
            f"{100 * check.reference:.1f}",
            f"{100 * check.served:.1f}",
            f"{points(check.difference)} {interval(check)}".strip(),
            (check.no_verdict or check.verdict) if check.gated else "",
        )
    console.print(table)
    for finding in result.findings:
        style = "red" if finding.level == "fault" else "yellow"
        console.print(Text(f"{finding.level}: {finding.sentence}", style=style))
    for row in result.examples[:SHOWN]:
        console.print(Text(visible_line(f"{row.id}: '{row.reference}' / '{row.served}' (expected '{row.expected}')")))
    if result.different > SHOWN:
        console.print(Text(f"{result.different - SHOWN:,} more rows differ; the page shows them.", style="dim"))
    for note in result.notes:
        console.print(Text(f"! {visible_line(note, 400)}", style="yellow"))


def _times(result: ParityResult) -> str:
    sides = (result.reference, result.served)
    how = "one at a time" if all(side.probed for side in sides) else "under load"
    return f"latency p50, {how}: {seconds(sides[0].p50_s)} / {seconds(sides[1].p50_s)}"
