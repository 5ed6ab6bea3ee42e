"""What the verbs of the Python API make of their arguments: a workspace, settings, a console, an observer."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.runs.run_handle import Run

if TYPE_CHECKING:
    from rich.console import Console

    from harness.backend import Backend
    from harness.execution.executor import Observer
    from harness.settings import Settings
    from harness.task import Task
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


def task_spec(task: "str | Task | type[Task]") -> str:
    """The word of a task: as given, or that of a class or object."""
    from harness.registry import TASKS, spec_of

    return task if isinstance(task, str) else spec_of(TASKS, task)


def backends_of(
    given: "str | Sequence[str] | Mapping[str, Mapping[str, Any] | type[Backend]]",
    config: "Path | str | Settings | None",
) -> "tuple[list[str], Settings]":
    """The names of the backends of a run, and the settings that hold them.

    Tables that are passed are laid over those of the same name in bench.toml. Raises UsageError for wrong settings.
    """
    import msgspec

    from harness.text_format import split_names

    settings = settings_of(config)
    if not isinstance(given, Mapping):
        return split_names(given if isinstance(given, str) else ",".join(given), "backends"), settings
    tables = {name: {**settings.backends.get(name, {}), **_table_of(own)} for name, own in given.items()}
    names = split_names(",".join(tables), "backends")
    return names, msgspec.structs.replace(settings, backends={**settings.backends, **tables})


def _table_of(given: "Mapping[str, Any] | type[Backend]") -> dict[str, Any]:
    """A table as bench.toml has it: classes by their word."""
    from harness.registry import BACKENDS, spec_of

    table: dict[str, Any] = {"kind": given} if isinstance(given, type) else dict(given)
    if isinstance(table.get("kind"), type):
        table["kind"] = spec_of(BACKENDS, table["kind"])
    return table


def pass_objects(run: Path, task: "Task | type[Task] | None", backends: "Mapping[str, type[Backend]]") -> None:
    """Make the objects of a run known to this process under the words of its manifest.

    Raises UsageError for a name that the run does not know, or that names what is found without an object.
    """
    from harness.errors import UsageError, did_you_mean
    from harness.registry import PASSED, pass_object
    from harness.runs.run_log import RunLog

    manifest = RunLog.open(run).manifest
    words = {name: str(table.get("kind", "")) for name, table in manifest.backend_settings.items()}
    given: dict[str, tuple[str, Any]] = {} if task is None else {"task": (manifest.task_spec, task)}
    for name, of in backends.items():
        if name not in words:
            raise UsageError(f"{run}: this run asks no backend '{name}'{did_you_mean(name, words)}.")
        given[f"backend '{name}'"] = words[name], of
    for what, (word, value) in given.items():
        if not word.startswith(PASSED):
            raise UsageError(f"{run}: its {what} is found by its name, '{word}': leave the object out.")
        pass_object(word, value)


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
