"""The backends of a run: their settings with the run's options applied, for a new run and for a resumed one."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from harness.backend import (
    Backend,
    BackendOption,
    OptionTarget,
    RunContext,
    backend_class,
    backend_location,
    capabilities_of,
    make_backend,
)
from harness.errors import UsageError
from harness.run_options import RunOptions
from harness.runs.run_log import Manifest
from harness.settings import Settings, builtin_backends

Table = dict[str, Any]
"""The raw settings of one backend, as in `[backends.NAME]`."""

MUST_APPLY = ("executor", "workers", "adapter", "trained_on")
"""Options that are refused where no backend takes them; the others are ignored there."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def backend_tables(options: RunOptions, settings: Settings) -> dict[str, Table]:
    """The raw settings of every backend of the run, with the run's options applied where a class takes them.

    Raises UsageError: a name that cannot be one, or an option that would change nothing.
    """
    tables = {}
    for name in options.backends:
        if not _NAME.fullmatch(name) or name.endswith(".probe"):
            raise UsageError(f"'{name}' cannot name a backend: use letters, digits, '-', '_' and '.'.")
        tables[name] = dict(settings.backend(name))
    stages = _stage_tables(tables, settings)
    asked = {**tables, **{f"{name}/{stage}": table for (name, stage), table in stages.items()}}
    classes = {name: backend_class(name.rpartition("/")[2], table, settings.path) for name, table in asked.items()}
    _refuse_probe_of_recordings(options, classes)
    for option in get_args(BackendOption):
        value = getattr(options, option)
        if value is not None and value is not False:
            _apply(option, existing_path(value), asked, classes)
    for (name, stage), table in stages.items():
        tables[name].setdefault("stage_settings", {})[stage] = table
    return tables


def make_backends(tables: Mapping[str, Table], task_name: str, context: RunContext) -> dict[str, Backend]:
    """Construct backends from their tables (cheap: no network, no weights). Raises UsageError."""
    return {name: make_backend(name, table, task_name, context) for name, table in tables.items()}


def resumed_tables(manifest: Manifest, settings: Settings) -> dict[str, Table]:
    """Backend settings from the manifest; a class declares which of them come from today's settings, and which were
    resolved when the run began and stay as its backend's identity recorded them."""
    tables = {}
    for name, table in manifest.backend_settings.items():
        allowed = capabilities_of(backend_class(name, table, None))
        today = settings.backends.get(name, {})
        tables[name] = {**table, **{key: today[key] for key in allowed.resume_from_settings if key in today}}
        identity = manifest.backends.get(name)
        resolved = identity.settings if identity is not None else {}
        tables[name] |= {key: resolved[key] for key in allowed.resume_from_identity if key in resolved}
    return tables


def existing_path(word: Any) -> Any:
    """A text that names an existing file or folder as an absolute path; anything else as it is."""
    return str(Path(word).resolve()) if isinstance(word, str) and Path(word).exists() else word


def _stage_tables(tables: Mapping[str, Table], settings: Settings) -> dict[tuple[str, str], Table]:
    """(backend, stage) -> the stage's table, for backends that ask others. Raises UsageError for an unknown stage, or
    one that asks others itself."""
    found = {}
    for name, table in tables.items():
        key = capabilities_of(backend_class(name, table, settings.path)).stages
        for stage in table.get(key, ()) if key else ():
            inner = dict(settings.backend(str(stage)))
            if capabilities_of(backend_class(str(stage), inner, settings.path)).stages:
                raise UsageError(f"{backend_location(name, settings.path)}: '{stage}' asks stages itself: name those.")
            found[name, str(stage)] = inner
    return found


def _refuse_probe_of_recordings(options: RunOptions, classes: Mapping[str, Any]) -> None:
    recording = next((name for name, of in classes.items() if capabilities_of(of).answers_by_row), None)
    if options.probe is not None and recording is not None:
        raise UsageError(
            f"--probe {options.probe} replaces the rows' own texts, and '{recording}' answers from a recording, by "
            "row: probe the model itself."
        )


def _apply(option: BackendOption, value: Any, tables: dict[str, Table], classes: Mapping[str, Any]) -> None:
    """Set an option in the tables of all backends whose class takes it and that meet what it requires."""
    targets = {name: capabilities_of(of).options[option] for name, of in classes.items() if option in _options(of)}
    targets = _where_set(targets, tables)
    if not targets and option in MUST_APPLY:
        flag = option.replace("_", "-")
        raise UsageError(f"--{flag} {value} applies to none of the backends {', '.join(tables)}: leave it out.")
    ready = [name for name, target in targets.items() if not _unmet(target, tables[name], classes[name])]
    if targets and not ready:
        name, target = next(iter(targets.items()))
        missing = _unmet(target, tables[name], classes[name])
        flags = {inner.setting: flag for flag, inner in capabilities_of(classes[name]).options.items()}
        needed = " and ".join(
            f"--{flags[key]} {wanted}" if key in flags else f'{key} = "{wanted}"' for key, wanted in missing.items()
        )
        raise UsageError(f"--{option} {value} has no effect on {', '.join(targets)} as set: use {needed} too.")
    for name in ready:
        table, key = tables[name], targets[name].setting
        *outer, last = key.split(".")
        for part in outer:
            table[part] = table = dict(table.get(part, {}))
        table[last] = value
        default = targets[name].drops_default
        if default and tables[name].get(default) == builtin_backends().get(name, {}).get(default):
            tables[name].pop(default, None)


def _where_set(targets: Mapping[str, OptionTarget], tables: Mapping[str, Table]) -> dict[str, OptionTarget]:
    """The backends that an option is for, of those whose class takes it (`OptionTarget.where_set`)."""
    chosen = {name: t for name, t in targets.items() if not t.where_set or tables[name].get(t.where_set)}
    only = next(iter(targets.values())) if len(targets) == 1 else None
    return dict(targets) if only is not None and only.where_set == only.setting else chosen


def _options(backend_class: Any) -> Mapping[BackendOption, OptionTarget]:
    return capabilities_of(backend_class).options


def _unmet(target: OptionTarget, table: Table, backend_class: Any) -> dict[str, str]:
    """The required settings that have another value, in the table or by default."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(backend_class.Settings)}
    return {key: wanted for key, wanted in target.requires.items() if table.get(key, defaults.get(key)) != wanted}
