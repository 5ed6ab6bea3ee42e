"""`bench baseline accept RUN`: store a run's outcomes in a file to commit and gate against."""

import shlex
import sys
from pathlib import Path

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.shell_completion import runs
from harness.text_format import split_names


@click.group()
def baseline() -> None:
    """Manage baselines."""


@baseline.command()
@click.argument("run", metavar="RUN", shell_complete=runs)
@click.option("--backends", metavar="A,B", help="Only these backends (default: all of the run).")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default: TASK-baseline.json in the current folder. An older file there is replaced and keeps the first one.",
)
@json_option
@quiet_option
def accept(run: str, backends: str | None, out: Path | None, as_json: bool, quiet: bool) -> int:
    """Accept a run as the baseline of later candidates. Commit the file.

    \b
    bench baseline accept last --out main.json
    """
    import msgspec

    from harness.gating.baseline_file import keep_first, make_baseline, write_baseline
    from harness.runs.run_log import RunLog
    from harness.workspace import Workspace

    log = RunLog.open(Workspace.current().find_run(run))
    names = None if backends is None else tuple(split_names(backends, "--backends"))
    made = make_baseline(log, names)
    path = out or Path(f"{made.task}-baseline.json")
    replaced = path.exists()
    made, remark = keep_first(made, path)
    write_baseline(path, made)
    if as_json:
        found = {"path": str(path), "rows": len(made.rows), "backends": list(made.backends), "sha256": made.sha256}
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    if not quiet:
        rows = f"{len(made.rows)} row{'' if len(made.rows) == 1 else 's'}"
        print(
            f"{'replaced' if replaced else 'wrote'} {path}: {rows} of "
            f"{', '.join(made.backends)}, {path.stat().st_size:,} bytes. Commit it; gate with `bench gate RUN "
            f"--baseline {shlex.quote(str(path))}`.{f' {remark[0].upper()}{remark[1:]}' if remark else ''}",
            file=sys.stderr if as_json else sys.stdout,
        )
    return 0
