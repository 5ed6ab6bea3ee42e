"""The parity page: verdict, faults, metrics, rows that differ."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from harness.deployment.parity_result import ParityCheck, ParityResult, ParitySide, points
from harness.files import write_whole
from harness.metrics import Estimate, title
from harness.reports.jinja_env import render
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.reports.terminal_table import TerminalColumn, fitting_table, no_room
from harness.text_format import NOT_APPLICABLE, count, count_noun, money, seconds
from harness.text_sanitize import private_texts, visible_line, without_private

TONES = {"alike": "good", "not alike": "bad", "not shown yet": "even"}


def share(value: Estimate) -> str:
    """`96.7 % [92.4, 98.6]`."""
    if value.value is None or value.low is None or value.high is None:
        return NOT_APPLICABLE
    return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def metrics_table(result: ParityResult) -> Grid:
    """Every metric of the task: both figures, the difference with its interval, the verdict."""
    columns = (
        TableColumn(title="metric", numeric=False),
        TableColumn(title="reference %"),
        TableColumn(title="served %"),
        TableColumn(title="served - reference, points", hint="90 % interval: both one-sided tests at 5 %"),
        TableColumn(title="interval by", numeric=False),
        TableColumn(title="verdict", numeric=False),
    )
    rows = tuple(_metric_row(check) for check in result.checks)
    margin = f"{100 * result.margin:g} {'point' if result.margin == 0.01 else 'points'}"
    return Grid(caption=f"Metrics on {count(result.rows)} rows, margin {margin}", columns=columns, rows=rows)


def _metric_row(check: ParityCheck) -> tuple[TableCell, ...]:
    return (
        TableCell(text=title(check.metric), below="" if check.gated else "shown only"),
        TableCell(text=f"{100 * check.reference:.1f}"),
        TableCell(text=f"{100 * check.served:.1f}"),
        TableCell(text=points(check.difference), note=check.interval),
        TableCell(text=check.method),
        TableCell(text=check.no_verdict or check.verdict, tone=TONES[check.verdict] if check.gated else ""),
    )


def sides_table(result: ParityResult) -> Grid:
    """What answered on either side, how its answers ended, and what they took."""
    sides = (result.reference, result.served)
    lines = [
        ("backend", [side.backend for side in sides]),
        ("model", [visible_line(f"{side.model}{f' + {side.adapter}' if side.adapter else ''}") for side in sides]),
        ("answers by", [f"{side.kind}, {side.decode}" for side in sides]),
        ("answered", [f"{count(side.answered)}{f', {side.errors} errors' if side.errors else ''}" for side in sides]),
        ("answers ended by", [", ".join(f"{why} {count(n)}" for why, n in side.finish.items()) for side in sides]),
        ("prompt tokens", [_tokens(side.prompt_tokens) for side in sides]),
        ("answer tokens", [_tokens(side.completion_tokens) for side in sides]),
        ("latency p50", [_latency(side, side.p50_s) for side in sides]),
        ("latency p95", [_latency(side, side.p95_s) for side in sides]),
        ("USD per 1,000", [money(side.cost_per_1000) for side in sides]),
    ]
    return Grid(
        caption="Reference and served copy",
        columns=tuple(TableColumn(title=name, numeric=False) for name in ("", "reference", "served")),
        rows=tuple((TableCell(text=name), *(TableCell(text=text) for text in texts)) for name, texts in lines),
    )


def _tokens(mean: float | None) -> str:
    return "not reported" if mean is None else f"{mean:,.1f}"


def _latency(side: ParitySide, value: float | None) -> str:
    if value is None:
        return NOT_APPLICABLE
    return f"{seconds(value)} ({'one at a time' if side.probed else 'under load'})"


def differences_table(result: ParityResult) -> Grid:
    """Rows that were answered differently, and the first token on which the answers part."""
    columns = (
        TableColumn(title="row", numeric=False),
        TableColumn(title="expected", numeric=False),
        TableColumn(title="reference", numeric=False),
        TableColumn(title="served", numeric=False),
        TableColumn(title="equal tokens"),
        TableColumn(title="then", numeric=False, hint="the reference's next token, and the served one"),
        TableColumn(title="served ended by", numeric=False),
    )
    rows = tuple(
        (
            TableCell(text=row.id),
            TableCell(text=visible_line(row.expected)),
            TableCell(text=visible_line(row.reference)),
            TableCell(text=visible_line(row.served)),
            TableCell(text=count(row.equal_tokens)),
            TableCell(text=f"{_token(row.reference_token)} / {_token(row.served_token)}"),
            TableCell(text=str(row.finish)),
        )
        for row in result.examples
    )
    shown = f"{len(rows)} of {count(result.different)}" if result.different > len(rows) else count(len(rows))
    return Grid(caption=f"Rows answered differently ({shown})", columns=columns, rows=rows)


def _token(text: str) -> str:
    return f"'{visible_line(text)}'" if text else "end"


def facts(result: ParityResult) -> list[tuple[str, str]]:
    """Agreement, prompts and log-probabilities, in words."""
    found = [("equal answers", share(result.agreement)), ("equal texts", share(result.texts))]
    if result.prompts is not None:
        p = result.prompts
        how = f", as if {p.matches}" if p.matches else ""
        found.append(
            (
                "prompt tokens",
                f"equal on {count(p.equal)} of {count(p.rows)} rows, {p.median_difference:+,.0f} median{how}",
            )
        )
    if result.drift is not None:
        d = result.drift
        words = f"of the answer differs by {d.mean:.3f} nats (at most {d.largest:.3f}) on {count_noun(d.rows, 'row')}"
        if d.log_odds is not None and d.eight_bits is not None and d.four_bits is not None:
            words += f"; log-odds by {d.log_odds:.2f} (rounding to 8 bits: {d.eight_bits:.2f}, to 4: {d.four_bits:.2f})"
        found.append(("log-probability", words))
    return found


SHOWN = 5
"""Rows that differ, in the terminal."""


def write_parity(result: ParityResult, out: Path, *, redact: bool = False) -> Path:
    """Write the page of a parity result to `out` and return it. redact: without rows and answers, addresses and paths
    of this machine."""
    shown = msgspec.structs.replace(result, examples=()) if redact else result
    page = render(
        "parity.html.j2",
        scripts=("tables.js",),
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
    columns = [
        TerminalColumn("metric", [title(check.metric) for check in result.checks], numeric=False, folds=True),
        TerminalColumn("reference", [f"{100 * check.reference:.1f}" for check in result.checks]),
        TerminalColumn("served", [f"{100 * check.served:.1f}" for check in result.checks]),
        TerminalColumn("difference, points", [f"{points(c.difference)} {c.interval}".strip() for c in result.checks]),
        TerminalColumn("verdict", [check.outcome for check in result.checks], numeric=False, folds=True),
    ]
    table, hidden = fitting_table(columns, console.width, kept=4)
    console.print(table)
    if hidden:
        console.print(Text(no_room(hidden), style="dim"))
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
