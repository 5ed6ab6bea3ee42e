"""`bench compare A B`: two runs side by side, on the rows they share."""

import sys
from pathlib import Path

import click

from harness.cli.options import PageFile, json_option, quiet_option
from harness.cli.shell_completion import runs


@click.command()
@click.argument("a", metavar="A", shell_complete=runs)
@click.argument("b", metavar="B", shell_complete=runs)
@click.option("--candidate", metavar="NAME", help="The backend of A (default: all with the same name in both).")
@click.option("--reference", metavar="NAME", help="The backend of B to compare it with.")
@click.option(
    "--out",
    metavar="FILE",
    type=PageFile(),
    help="Also write the comparison as a page.",
)
@click.option("--redact", is_flag=True, help="Omit rows and answers from the page, for sharing.")
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

    from harness.gating.compare_runs import compare_two_runs
    from harness.gating.evaluate import GateSource
    from harness.runs.run_log import RunLog
    from harness.workspace import Workspace

    workspace = Workspace.current()
    first, second = (RunLog.open(workspace.find_run(word)) for word in (a, b))
    found = compare_two_runs(GateSource.of_run(first), GateSource.of_run(second), candidate, reference)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    people = Console(stderr=as_json, quiet=as_json and quiet)
    from harness.reports import compare_table

    compare_table.print_comparison(found, first, people)
    if out is not None:
        from harness.reports import compare_page

        compare_page.write_compare(found, first, second, out, redact=redact)
    if out is not None and not quiet:
        people.print(str(out), markup=False, highlight=False, soft_wrap=True)
    return 0
