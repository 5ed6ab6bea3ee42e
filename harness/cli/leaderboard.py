"""`bench leaderboard RUNS...`: write a static site of many runs."""

import sys
from pathlib import Path

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.shell_completion import runs
from harness.errors import UsageError
from harness.runs.object_storage import is_url
from harness.runs.run_log import RunLog
from harness.workspace import Workspace


@click.command()
@click.argument("runs", metavar="[RUNS]...", shell_complete=runs, nargs=-1)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("leaderboard"),
    show_default=True,
    help="Output folder; created if missing.",
)
@click.option("--redact", is_flag=True, help="Leave out all rows and answers, for sharing.")
@json_option
@quiet_option
def leaderboard(runs: tuple[str, ...], out: Path, redact: bool, as_json: bool, quiet: bool) -> None:
    """Write an index, a page per run and a page of trends for RUNS (default: all finished runs of the workspace)."""
    import msgspec
    from rich.console import Console

    workspace = Workspace.current()
    logs = [RunLog.open(path) for word in runs for path in _runs_of(word, workspace)] if runs else _finished(workspace)
    from harness.reports import leaderboard_site

    written = leaderboard_site.write_leaderboard(logs, out, redact=redact)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode({"pages": [str(path) for path in written]}) + b"\n")
    if not quiet:
        people = Console(stderr=as_json)
        others = "1 more page" if len(written) == 2 else f"{len(written) - 1} more pages"
        people.print(f"{written[0]} and {others}", markup=False, highlight=False, soft_wrap=True)


def _runs_of(word: str, workspace: Workspace) -> list[Path]:
    """The run that a word means; of a folder in object storage all that lie there."""
    if is_url(word):
        from harness.runs.object_storage import fetch_runs

        return fetch_runs(word, workspace.root)
    return [workspace.find_run(word)]


def _finished(workspace: Workspace) -> list[RunLog]:
    """Every run of the workspace that has a summary."""
    paths = sorted(workspace.runs.glob("*/summary.json")) if workspace.runs.is_dir() else []
    if not paths:
        raise UsageError(f"there is no finished run in {workspace.runs}: start one with `bench run`.")
    return [RunLog.open(path.parent) for path in paths]
