"""`bench export RUN --out FILE`: the answers of a run, row by row, for other tools."""

from pathlib import Path

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.output import print_json
from harness.cli.shell_completion import runs


@click.command()
@click.argument("run", metavar="RUN", shell_complete=runs)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Output file; the suffix selects the format: .csv, .parquet or .jsonl.",
)
@json_option
@quiet_option
def export(run: str, out: Path, as_json: bool, quiet: bool) -> None:
    """Write one line for each row, backend and repeat of RUN: inputs, reference, answer, verdict, times, cost.

    \b
    bench export last --out answers.csv
    """
    from harness.reports.row_export import write_rows
    from harness.runs.run_handle import Run
    from harness.runs.run_log import RunLog
    from harness.text_format import count_noun
    from harness.workspace import Workspace

    lines = write_rows(Run(RunLog.open(Workspace.current().find_run(run))), out)
    if as_json:
        print_json({"file": str(out), "lines": lines})
    elif not quiet:
        click.echo(f"{out}: {count_noun(lines, 'line')}.")
