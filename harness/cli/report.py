"""`bench report RUN`: report a run as a page, a table for a pull request, or figures for other tools."""

import json
import sys
from pathlib import Path

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.shell_completion import runs
from harness.errors import UsageError
from harness.files import write_whole
from harness.runs.run_log import RunLog
from harness.text_format import split_names
from harness.workspace import Workspace


@click.command()
@click.argument("run", metavar="RUN", shell_complete=runs)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Output file; the suffix selects the format: .html (default: report.html in the run), .json, .csv, .md.",
)
@click.option("--redact", is_flag=True, help="Leave out all rows and answers, for sharing.")
@click.option(
    "--plots",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write every chart as SVG and PNG.",
)
@click.option("--vote", metavar="A,B", help="Write a page for blind votes on the answers of A and B instead.")
@click.option(
    "--votes",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Import votes saved by such a page; repeatable.",
)
@json_option
@quiet_option
def report(
    run: str,
    out: Path | None,
    redact: bool,
    plots: Path | None,
    vote: str | None,
    votes: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the report of RUN (a path, a short id, or `last`)."""
    from rich.console import Console

    log = RunLog.open(Workspace.current().find_run(run))
    people = Console(stderr=as_json)
    if vote is not None:
        if redact or plots or votes:
            raise UsageError("--vote writes a page of answers only: leave out --redact, --plots, --votes.")
        page = str(_write_voting(log, vote, out))
        click.echo(json.dumps({"page": page}) if as_json else page)
        return
    for path in votes:
        from harness.judging.votes import add_votes

        add_votes(log, path)
    from harness.reports import exports

    summary = exports.summary_of(log)
    target = out or log.path / ("report-redacted.html" if redact else "report.html")
    if target.suffix.lower() in (".html", ".htm"):
        from harness.reports import run_page

        run_page.write_report(log, target, redact=redact)
    else:
        text = exports.export(summary, target.suffix)
        write_whole(target, text.encode())
    written = [target]
    if plots is not None:
        from harness.reports import run_page

        written += run_page.write_plots(log, plots)
    if as_json:
        sys.stdout.write(exports.to_json(summary))
    if not quiet:
        if out is None and plots is None:
            from harness.reports import terminal_table

            terminal_table.print_summary(summary, people)
        for path in written:
            people.print(str(path), markup=False, highlight=False, soft_wrap=True)


def _write_voting(log: RunLog, vote: str, out: Path | None) -> Path:
    names = split_names(vote, "--vote")
    if len(names) != 2:
        raise UsageError("--vote takes two backends: --vote A,B.")
    from harness.reports import voting_page

    first, second = names
    return voting_page.write_voting(log, first, second, out or log.path / "vote.html")
