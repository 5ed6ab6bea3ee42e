"""What the verbs of the Python API make of their arguments: a workspace, settings, a console, an observer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.runs.run_handle import Run

if TYPE_CHECKING:
    from rich.console import Console

    from harness.execution.executor import Observer
    from harness.settings import Settings
    from harness.workspace import Workspace

_log = logging.getLogger("harness")


def run_path(run: Run | Path | str, workspace: "Workspace") -> Path:
    """The run directory of a run, or of what `load_run` takes."""
    return run.path if isinstance(run, Run) else workspace.find_run(str(run))


def workspace_of(given: "Path | str | Workspace | None") -> "Workspace":
    """A workspace, or the one of a folder; None: the current one."""
    from harness.workspace import Workspace

    if isinstance(given, Workspace):
        return given
    return Workspace.current() if given is None else Workspace(Path(given))


def settings_of(given: "Path | str | Settings | None") -> "Settings":
    """Settings, or those of a file; None: the nearest bench.toml."""
    from harness.settings import Settings, load_settings

    if isinstance(given, Settings):
        return given
    return load_settings(None if given is None else Path(given))


def console_of(progress: bool | None) -> "Console":
    """Standard error, or the output of the notebook's cell; quiet where no progress is wanted."""
    from rich.console import Console

    console = Console(stderr=True)
    console.quiet = not (console.is_terminal or console.is_jupyter) if progress is None else not progress
    return console


@contextmanager
def observer_of(progress: bool | None) -> "Iterator[Observer]":
    """Progress on the console, or remarks to the logger "harness"."""
    from harness.execution.executor import Observer

    console = console_of(progress)
    if console.quiet:
        yield Observer(remark=_log.warning, status=_log.info)
        return
    from harness.cli.run_display import observed

    with observed(console, quiet=False) as observer:
        yield observer
