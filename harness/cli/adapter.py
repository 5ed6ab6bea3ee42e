"""`bench adapter`: care of trained adapters."""

from pathlib import Path

import click

from harness.cli.completion import adapters
from harness.cli.options import json_option
from harness.errors import ExitCode


@click.group()
def adapter() -> None:
    """Show, check, merge or remove trained adapters (bench list adapters)."""


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@json_option
def show(name: str, as_json: bool) -> None:
    """What ADAPTER (an id or a folder) is and how it was made."""
    from harness.adapter import MANIFEST, find_adapter
    from harness.cli.rooms import load
    from harness.workspace import Workspace

    workspace = Workspace.current()
    folder = find_adapter(workspace, name)
    click.echo(
        (folder / MANIFEST).read_text() if as_json else load("harness.adapters.care:described")(workspace, folder)
    )


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@json_option
def check(name: str, as_json: bool) -> int:
    """Whether ADAPTER is the file that was trained, and its base the one it was trained on."""
    import msgspec

    from harness.adapter import find_adapter
    from harness.cli.rooms import load
    from harness.workspace import Workspace

    folder = find_adapter(Workspace.current(), name)
    wrong: list[str] = load("harness.adapters.care:check")(folder)
    if as_json:
        click.echo(msgspec.json.encode({"path": str(folder), "wrong": wrong}))
    else:
        click.echo("\n".join(wrong) if wrong else f"{folder} is whole, and its base is the one it was trained on.")
    return int(ExitCode.USAGE if wrong else ExitCode.DONE)


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
def rm(name: str) -> None:
    """Remove ADAPTER from the disk."""
    from harness.adapter import find_adapter
    from harness.cli.rooms import load
    from harness.workspace import Workspace

    workspace = Workspace.current()
    folder = find_adapter(workspace, name)
    load("harness.adapters.care:remove")(workspace, folder)
    click.echo(f"removed {folder}")


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@click.option(
    "--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder of the merged model."
)
@click.option(
    "--rows", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="Rows to prove it."
)
def merge(name: str, out: Path, rows: int) -> None:
    """Write base and ADAPTER as one model, once it answers N rows as the adapter does."""
    from harness.adapter import find_adapter
    from harness.cli.rooms import load
    from harness.workspace import Workspace

    folder = find_adapter(Workspace.current(), name)
    done = load("harness.adapters.merge:merge")(folder, out, rows)
    click.echo(f"{done.folder}: the merged model gave the adapter's answer on all of {done.rows} rows")
