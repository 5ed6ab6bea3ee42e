"""Errors in code that is not Bench's: a task, backend or recipe of the user's own, or of a plugin."""

import importlib
import importlib.util
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import NotFoundError, did_you_mean

PACKAGES = ("harness", "harness.tasks", "harness.adapters", "harness.reports")
GROUPS = ("bench.tasks", "bench.backends")


def fault_of_users_code(error: BaseException) -> str | None:
    """A clause naming file, line and function where the user's own code raised, and the error; None where Bench did."""
    place = place_in_users_code(error)
    return None if place is None else f"{place}: {described(error)}"


def described(error: BaseException) -> str:
    """`KeyError: 'team'`, as one line."""
    said = " ".join(str(error).split())
    return (type(error).__name__ + (f": {said}" if said else "")).rstrip(".")


def place_in_users_code(error: BaseException) -> str | None:
    """`tickets.py:31, in score` where the user's own code raised; None where Bench itself did.

    An error that a library raises is the user's when it was the user's code that called the library.
    """
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if not _is_library(Path(frame.filename))]
    if not ours or _is_bench(Path(ours[-1].filename)):
        return None
    frame = ours[-1]
    function = "" if frame.name == "<module>" else f", in {frame.name}"
    return f"{_shown(Path(frame.filename))}:{frame.lineno}{function}"


def _shown(path: Path) -> str:
    cwd = Path.cwd()
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _is_bench(path: Path) -> bool:
    return path.stem == "bench_harness" or any(path.is_relative_to(root) for root in _bench_roots())


@lru_cache(maxsize=1)
def _bench_roots() -> tuple[Path, ...]:
    found = []
    for name in PACKAGES:
        spec = find_spec(name)
        found += [Path(place) for place in (spec.submodule_search_locations or ()) if spec] if spec else []
    return tuple(found)


def _is_library(path: Path) -> bool:
    """Whether a file is neither Bench's, nor the user's, nor a plugin's."""
    if not path.is_absolute() or str(path).startswith("<"):
        return True
    if _is_bench(path) or not any(path.is_relative_to(root) for root in _library_roots()):
        return False
    return not any(part.removesuffix(".py") in _plugins() for part in path.parts)


@lru_cache(maxsize=1)
def _library_roots() -> tuple[Path, ...]:
    import site
    import sysconfig

    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(path) for path in {*paths, *site.getsitepackages(), site.getusersitepackages()} if path)


@lru_cache(maxsize=1)
def _plugins() -> frozenset[str]:
    """Top-level packages of plugins that are installed."""
    from importlib.metadata import entry_points

    modules = {entry.module.partition(".")[0] for group in GROUPS for entry in entry_points(group=group)}
    return frozenset(modules - {"harness"})


TASKS = "bench.tasks"
BACKENDS = "bench.backends"
BROKEN = (Exception, SystemExit)
"""What a plugin may raise when it is loaded; a script that ends itself is broken too."""


def names(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name, none of them loaded."""
    return {e.name: e for e in sorted(_installed(group, tuple(sys.path)), key=lambda e: e.name)}


@lru_cache(maxsize=8)
def _installed(group: str, path: tuple[str, ...]) -> EntryPoints:
    """The entry points of all packages on the import path; reading every package's is slow."""
    return entry_points(group=group)


def find(group: str, word: str) -> Any:
    """The class that a name refers to: a registered name, `package.module:Class`, or `./file.py:Class`.

    Raises UsageError: unknown name (with the nearest), no such file or class, or a plugin that fails to load.
    """
    registered = names(group)
    what = group.removeprefix("bench.").removesuffix("s")
    if word in registered:
        try:
            return registered[word].load()
        except BROKEN as error:
            raise NotFoundError(
                f"{what} '{word}' ({registered[word].value}) cannot be loaded: {_say(error)}."
            ) from error
    target, colon, attribute = word.rpartition(":")
    if not colon:
        raise NotFoundError(f"no {what} '{word}'{did_you_mean(word, registered)}.")
    module = _from_file(Path(target), what) if target.endswith(".py") else _from_package(target, what)
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise NotFoundError(f"{target} has no '{attribute}'{did_you_mean(attribute, public)}.") from None


def _from_file(path: Path, what: str) -> Any:
    if not path.is_file():
        raise NotFoundError(f"--{what} {path}: there is no such file.")
    name = f"bench_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise NotFoundError(f"--{what} {path}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and msgspec resolve annotations through it
    try:
        spec.loader.exec_module(module)
    except BROKEN as error:
        raise NotFoundError(f"{path} cannot be loaded: {_say(error)}.") from error
    return module


def _from_package(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except BROKEN as error:
        raise NotFoundError(f"{what} module '{name}' cannot be imported: {_say(error)}.") from error


def _say(error: BaseException) -> str:
    place = None if isinstance(error, SyntaxError) else place_in_users_code(error)
    return described(error) + (f" ({place})" if place else "")
