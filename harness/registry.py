"""Finding tasks and backends: entry points first, `package:Class` or `./file.py:Class`, or an object that was passed.

Nothing is imported until it is asked for; what a plugin or the user's own code raises is one sentence with its place.
"""

import importlib
import importlib.util
import sys
import weakref
from contextlib import suppress
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
    message = " ".join(str(error).split())
    return (type(error).__name__ + (f": {message}" if message else "")).rstrip(".")


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
    modules = {entry.module.partition(".")[0] for group in GROUPS for entry in entry_points(group=group)}
    return frozenset(modules - {"harness"})


TASKS = "bench.tasks"
BACKENDS = "bench.backends"
PASSED = "python:"
"""Begins the word for an object that a program passed and that no import finds: only this process knows it."""

_passed: dict[str, Any] = {}
_loaded: dict[int, tuple["weakref.ref[Any]", str]] = {}
USER_MODULE = "bench_user_"
"""Begins the names of modules made from files of the user's."""
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
    if word.startswith(PASSED):
        return _passed_object(word, what)
    if word in registered:
        try:
            return registered[word].load()
        except BROKEN as error:
            raise NotFoundError(
                f"{what} '{word}' ({registered[word].value}) cannot be loaded: {_say(error)}."
            ) from error
    target, colon, attribute = word.rpartition(":")
    if not colon:
        file = Path(f"{word}.toml")
        if what == "task" and file.is_file():
            raise NotFoundError(f"no task '{word}' is registered; the file beside you is --task ./{file}.")
        raise NotFoundError(f"no {what} '{word}'{did_you_mean(word, registered)}.")
    module = _from_file(Path(target), what) if target.endswith(".py") else _from_package(target, what)
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise NotFoundError(f"{target} has no '{attribute}'{did_you_mean(attribute, public)}.") from None


def remember_spec(loaded: Any, spec: str) -> None:
    """Keep the word by which an object was loaded, for `spec_of`, as long as the object lives."""
    key = id(loaded)
    with suppress(TypeError):  # a class with __slots__ and without __weakref__
        _loaded[key] = (weakref.ref(loaded, lambda _: _loaded.pop(key, None)), spec)


def spec_of(group: str, value: Any) -> str:
    """The word by which `find` returns a class, or an object that was passed instead of its name.

    A class that a module has under its own name is found from any process: its word is its registered name, or
    `package.module:Class`. So is an object of such a class that has no attributes of its own, and one that was loaded
    by its word. Everything else (a class of a notebook, an object with a state) is known to this process alone.
    """
    reference, spec = _loaded.get(id(value), (None, ""))
    if reference is not None and reference() is value:
        return spec
    of = value if isinstance(value, type) else type(value)
    importable = _importable(of) and (of is value or not getattr(value, "__dict__", True))
    if importable:
        path = f"{of.__module__}:{of.__qualname__}"
        return next((name for name, entry in names(group).items() if entry.value == path), path)
    word = f"{PASSED}{of.__module__}.{of.__qualname__}"
    number = 1
    while _passed.setdefault(word if number == 1 else f"{word}-{number}", value) is not value:
        number += 1
    return word if number == 1 else f"{word}-{number}"


def pass_object(word: str, value: Any) -> None:
    """Give the object of a word that another process made with `spec_of`."""
    _passed[word] = value


def _importable(of: type[Any]) -> bool:
    """Whether another process imports this class under its module's name."""
    module = sys.modules.get(of.__module__)
    named = of.__module__ != "__main__" and not of.__module__.startswith(USER_MODULE)
    return named and getattr(module, of.__qualname__, None) is of


def _passed_object(word: str, what: str) -> Any:
    if word not in _passed:
        raise NotFoundError(
            f"the {what} '{word.removeprefix(PASSED)}' is an object of the Python program that passed it: pass it to "
            f"`harness.resume` again, or name a class that can be imported, as in ./file.py:Class."
        )
    return _passed[word]


def _from_file(path: Path, what: str) -> Any:
    if not path.is_file():
        raise NotFoundError(f"--{what} {path}: there is no such file.")
    name = f"{USER_MODULE}{path.stem}"
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
