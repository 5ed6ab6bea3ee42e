"""`bench leaderboard RUNS...`: write a static site of many runs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.shell_completion import runs
from harness.errors import BenchError, UsageError
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
@click.option(
    "--pages",
    type=click.Choice(["board", "all"]),
    default="board",
    show_default=True,
    help="Runs that get a page: the best and the newest of each candidate, or all.",
)
@click.option("--redact", is_flag=True, help="Leave out all rows and answers, for sharing.")
@json_option
@quiet_option
def leaderboard(runs: tuple[str, ...], out: Path, pages: Any, redact: bool, as_json: bool, quiet: bool) -> None:
    """Write the best run of each candidate, all runs over time, pages of runs, and badges and a table for a README.

    RUNS: runs, or a folder in object storage that holds some (default: all finished runs of the workspace).

    \b
    bench leaderboard --out site/
    bench leaderboard s3://team-runs --redact
    """
    import msgspec
    from rich.console import Console

    people = Console(stderr=as_json)

    def remark(text: str) -> None:
        if not quiet:
            people.print(f"bench: {text}", markup=False, highlight=False, soft_wrap=True)

    workspace = Workspace.current()
    urls: dict[Path, str] = {}
    logs = [log for word in runs for log in _named(word, workspace, urls, remark)] if runs else _own(workspace, remark)
    from harness.reports import leaderboard_site

    def whole(log: RunLog) -> RunLog:
        return RunLog.open(workspace.find_run(urls[log.path])) if log.path in urls else log

    site = leaderboard_site.write_leaderboard(logs, out, redact=redact, pages=pages, whole=whole)
    if as_json:
        found = {"pages": [str(path) for path in site.paths], "candidates": site.candidates}
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    if not quiet:
        others = "1 more file" if len(site.paths) == 2 else f"{len(site.paths) - 1} more files"
        people.print(f"{site.paths[0]} and {others}", markup=False, highlight=False, soft_wrap=True)


def _named(word: str, workspace: Workspace, urls: dict[Path, str], remark: Callable[[str], None]) -> list[RunLog]:
    """The run that a word means; of a folder in object storage all finished ones that lie there.

    urls: takes, for each run in object storage, its address by its local folder, which has neither rows nor answers.
    """
    if not is_url(word):
        return [RunLog.open(workspace.find_run(word))]
    from harness.runs.object_storage import fetch_overviews

    found = fetch_overviews(word, workspace.root)
    urls |= {folder: url for url, folder in found.items()}
    logs = _finished(list(found.values()), remark, {folder: url for url, folder in found.items()})
    if not logs:
        raise UsageError(f"{word} holds no finished run: finish one with `bench run --resume {next(iter(found))}`.")
    return logs


def _own(workspace: Workspace, remark: Callable[[str], None]) -> list[RunLog]:
    """Every run of the workspace that has a summary."""
    paths = sorted(workspace.runs.glob("*/summary.json")) if workspace.runs.is_dir() else []
    logs = _finished([path.parent for path in paths], remark, {})
    if not logs:
        raise UsageError(f"there is no finished run in {workspace.runs}: start one with `bench run`.")
    return logs


def _finished(folders: list[Path], remark: Callable[[str], None], names: dict[Path, str]) -> list[RunLog]:
    """The runs with a readable summary; a remark says which are left out, and why."""
    found = []
    for folder in folders:
        name = names.get(folder, str(folder))
        try:
            log = RunLog.open(folder)
            if log.summary() is not None:
                found.append(log)
            else:
                remark(f"{name} has not ended and is left out.")
        except BenchError as error:
            remark(f"{name} is left out: {error}")
    return found
