"""`bench doctor`: diagnose the installation. It never fails itself."""

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, requires
from pathlib import Path
from typing import NamedTuple

import click

from harness.cli.options import json_option, quiet_anyway
from harness.cli.output import print_json
from harness.extras import install_command


class Finding(NamedTuple):
    """One line of the diagnosis: `state` is "ok", "missing" or "wrong"; `advice` says what it is for or what to do."""

    what: str
    state: str
    advice: str


@click.command()
@json_option
@quiet_anyway
def doctor(as_json: bool) -> None:
    """Check the installation: missing packages, keys and devices."""
    findings = [finding for check in CHECKS for finding in _safely(check)]
    if as_json:
        print_json([f._asdict() for f in findings])
        return
    width = max(len(f.what) for f in findings)
    for f in findings:
        click.echo(f"{f.state:8}{f.what.ljust(width)}  {f.advice}".rstrip())


def _safely(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # a broken installation is reported, not raised
        return [Finding(check.__name__.strip("_"), "wrong", f"{type(error).__name__}: {error}")]


USES = {
    "hub": "rows from the Hub",
    "local": "local models, training and the classical baseline",
    "json": "constrained JSON from local models",
    "ray": "local models on many devices and machines",
    "text": "similarity of open answers",
    "embedding": "embedding similarity of open answers",
    "dump": "reading .7z dumps",
    "parquet": "long logs as Parquet, and data in Parquet files",
    "cloud": "runs in object storage (s3://, gs://, az://)",
}
"""The purpose of each extra. Others are checked as well."""


def _extras() -> list[Finding]:
    """One line for each extra of the installed distribution, those of developers aside."""
    wanted: dict[str, list[str]] = {}
    for line in requires("bench-harness") or []:
        requirement, _, marker = line.partition(";")
        name, of = re.match(r"[\w.-]+", requirement), re.search(r"extra == ['\"](.+?)['\"]", marker)
        if name and of and name[0] != "bench-harness":
            wanted.setdefault(of[1], []).append(name[0])
    found = []
    for extra, packages in wanted.items():
        if extra in ("dev", "docs"):
            continue
        missing = [package for package in packages if not _installed(package)]
        use = USES.get(extra, ", ".join(packages))
        advice = f"for {use} ({', '.join(missing)}): {install_command(extra)}" if missing else use
        found.append(Finding(f"extra {extra}", "missing" if missing else "ok", advice))
    return found


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _device() -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    if torch.cuda.is_available():
        return [Finding("GPU", "ok", torch.cuda.get_device_name())]
    if torch.backends.mps.is_available():
        return [Finding("GPU", "ok", "Apple (mps)")]
    return [Finding("GPU", "missing", "models of 1 B weights and more are slow without one; small ones run on the CPU")]


def _keys() -> list[Finding]:
    uses = {"OPENAI_API_KEY": "for the gpt4 and gpt35 backends", "HF_TOKEN": "for gated models such as Llama"}
    return [Finding(name, "ok" if os.environ.get(name) else "missing", f"{use}") for name, use in uses.items()]


def _workspace() -> list[Finding]:
    from harness.workspace import Workspace

    root = Workspace.current().root
    folder = next(p for p in (root, *root.absolute().parents) if p.exists())
    if os.access(folder, os.W_OK):
        return [Finding("workspace", "ok", str(root.absolute()))]
    return [Finding("workspace", "wrong", f"{folder} cannot be written: set BENCH_HOME to a writable folder")]


def _settings() -> list[Finding]:
    from harness.errors import BenchError
    from harness.settings import load_settings

    try:
        path = load_settings().path
    except BenchError as error:
        return [Finding("bench.toml", "wrong", str(error))]
    return [Finding("bench.toml", "ok", str(path) if path else "none found: the built-in settings are used")]


def _plugins() -> list[Finding]:
    from harness.errors import BenchError
    from harness.registry import BACKENDS, TASKS, find, names

    found = []
    for group in (TASKS, BACKENDS):
        for name, entry in names(group).items():
            try:
                find(group, name)
            except BenchError as error:
                found.append(Finding(f"{group} {name}", "wrong", str(error)))
            else:
                found.append(Finding(f"{group} {name}", "ok", entry.value))
    return found


def _rooms() -> list[Finding]:
    """The rooms are folders of common names; another `harness` on the path would shadow them."""
    import harness

    home = Path(harness.__file__).resolve().parent
    found = []
    for room in ("harness.tasks", "harness.adapters", "harness.reports"):
        module = importlib.import_module(room)
        found.append(Finding(room, "ok", str(Path(module.__file__ or "").parent)))
    if Path.cwd() != home.parent and (Path.cwd() / "harness").is_dir() and str(Path.cwd()) in sys.path:
        found.append(Finding("harness", "wrong", f"{Path.cwd() / 'harness'} shadows the installed package: rename it"))
    others = set(packages_distributions().get("harness", [])) - {"bench-harness", "bench_harness"}
    advice = "installs a package of the same name: python -m pip uninstall"
    return found + [Finding("harness", "wrong", f"{other} {advice} {other}") for other in sorted(others)]


CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    _extras,
    _device,
    _keys,
    _workspace,
    _settings,
    _plugins,
    _rooms,
)
