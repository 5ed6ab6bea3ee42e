"""Shell completion: names of tasks, backends, recipes, adapters and runs, found without loading any of them."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Items = list[CompletionItem]


def tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Registered tasks; file paths if the word starts as a path."""
    from harness.registry import TASKS, names

    return _matching(incomplete, names(TASKS)) or [CompletionItem(incomplete, type="file")]


def backends(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Backends of bench.toml and the built-in ones; of a list `a,b` the last one is completed."""
    from harness.errors import BenchError
    from harness.settings import load_settings

    before, comma, last = incomplete.rpartition(",")
    config = ctx.params.get("config")
    with contextlib.suppress(BenchError, OSError):  # a broken bench.toml is reported when the command runs
        known = load_settings(Path(config) if config else None).backends
        fresh = [name for name in known if name not in before.split(",")]
        return [CompletionItem(f"{before}{comma}{name}") for name in fresh if name.startswith(last)]
    return []


def recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Built-in recipes; paths once a path is begun."""

    from harness.adapters import recipe

    return _matching(incomplete, recipe.builtin_names()) or [CompletionItem(incomplete, type="file")]


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """`last`, the runs of the workspace, newest first; paths once a path is begun."""
    from harness.workspace import Workspace

    names = (path.name for path in Workspace.current().run_folders())
    return _matching(incomplete, ["last", *names]) or [CompletionItem(incomplete, type="dir")]


def adapters(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """The adapters of the workspace; paths once a path is begun."""
    from harness.workspace import Workspace

    names = sorted(path.parent.name for path in Workspace.current().adapters.glob("[!.]*/manifest.json"))
    return _matching(incomplete, names) or [CompletionItem(incomplete, type="dir")]


def _matching(incomplete: str, names: Iterable[str]) -> Items:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
