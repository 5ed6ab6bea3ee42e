"""Finding tasks and backends by name: entry points first, `package:Class` or `./file.py:Class` else.

Nothing is imported until it is asked for; a plugin that cannot be loaded is reported in one sentence.
"""

import importlib
import importlib.util
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any

from harness.errors import NotFoundError, did_you_mean
from harness.user_code import described, place_in_users_code

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
