"""`bench power`: sample sizes for a margin, and what the present rows can detect."""

import sys
from typing import Any

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.shell_completion import runs

MARGINS = (0.005, 0.01, 0.02, 0.03, 0.05)


@click.command()
@click.argument("run", metavar="[RUN]", shell_complete=runs, required=False)
@click.option("--rows", metavar="N", type=click.IntRange(min=1), help="Show what N rows can detect.")
@click.option(
    "--margin", metavar="X", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Only this margin."
)
@click.option(
    "--discordance",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of rows on which exactly one of both is right (default: of RUN, else 0.05).",
)
@click.option(
    "--loss", metavar="X", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="True loss to assume."
)
@click.option(
    "--power",
    metavar="P",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Power: probability of detecting a true difference.",
)
@json_option
@quiet_option
def power(
    run: str | None,
    rows: int | None,
    margin: float | None,
    discordance: float | None,
    loss: float,
    power: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Rows needed to pass a margin or to see a difference, and what the present rows can detect.

    \b
    bench power --margin 0.02 --discordance 0.05
    bench power last
    """
    import msgspec
    from rich.console import Console

    from harness.gating.power_report import power_report, show_power_report
    from harness.runs.run_log import RunLog
    from harness.workspace import Workspace

    log = RunLog.open(Workspace.current().find_run(run)) if run else None
    margins = MARGINS if margin is None else (margin,)
    found: Any = power_report(log, rows, discordance, margins, loss, power)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    show_power_report(found, Console(stderr=as_json, quiet=as_json and quiet))
    return 0
