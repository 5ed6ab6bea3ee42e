"""Errors that the user can fix, each a sentence with an exit code; missing extras; errors in the user's own code."""

import re
import shlex
import sysconfig
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, entry_points, requires
from importlib.util import find_spec
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of every verb; where several apply, the first of 2, 4, 3, 1, 5, 0 wins."""

    DONE = 0
    GATE_FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    NOT_COMPARABLE = 4
    INCONCLUSIVE = 5
    CRASH = 70
    INTERRUPTED = 130


PRECEDENCE = (
    ExitCode.USAGE,
    ExitCode.NOT_COMPARABLE,
    ExitCode.INCOMPLETE,
    ExitCode.GATE_FAILED,
    ExitCode.INCONCLUSIVE,
    ExitCode.DONE,
)


class BenchError(Exception):
    """Something a person can mend. The message says what is wrong, where, and what to do."""

    exit_code = ExitCode.USAGE


class UsageError(BenchError):
    """A wrong flag, setting, name or input file."""


class UnreachableError(UsageError):
    """A server that cannot be reached, or an address at which none answers as one."""


class IncompleteRunError(BenchError):
    """Rows are missing, or too many infrastructure errors for a verdict."""

    exit_code = ExitCode.INCOMPLETE


class NotComparableError(BenchError):
    """Two results that must not be compared, or no baseline to compare with."""

    exit_code = ExitCode.NOT_COMPARABLE


class InterruptedRunError(BenchError):
    """Ctrl-C in the middle of a run; what was answered is on disk."""

    exit_code = ExitCode.INTERRUPTED


class BackendStopped(BenchError):  # noqa: N818  (an event of a run, not a failure of the program)
    """A fatal answer (wrong key, no quota, unknown model): this backend stops, the others finish.

    `kind` names the reason in the run directory (for example "authentication").
    """

    exit_code = ExitCode.INCOMPLETE

    def __init__(self, message: str, kind: str = "fatal") -> None:
        super().__init__(message)
        self.kind = kind


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A clause naming the nearest choice, then all of them: `; did you mean 'x'? (known: x, y)`."""
    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    return f"{guess} (known: {', '.join(known)})" if known else guess


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

    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(path) for path in {*paths, *site.getsitepackages(), site.getusersitepackages()} if path)


@lru_cache(maxsize=1)
def _plugins() -> frozenset[str]:
    """Top-level packages of plugins that are installed."""
    modules = {entry.module.partition(".")[0] for group in GROUPS for entry in entry_points(group=group)}
    return frozenset(modules - {"harness"})


NAME = "bench-harness"

_REQUIREMENT = re.compile(
    r"(?P<package>[\w.-]+)(?:\[(?P<extras>[^]]*)\])?(?P<version>[^;]*)(?:;.*extra == ['\"](?P<of>[^'\"]+))?"
)


def install_command(extra: str) -> str:
    """`python -m pip install ..` for the packages of an extra."""
    return f"python -m pip install {' '.join(map(shlex.quote, requirements(extra)))}"


def requirements(extra: str) -> list[str]:
    """The packages of an extra with their versions, those of the extras it includes too."""
    found: list[str] = []
    for line in _declared():
        match = _REQUIREMENT.match(line)
        if match is None or match["of"] != extra:
            continue
        if match["package"] == NAME:
            found += [one for other in (match["extras"] or "").split(",") for one in requirements(other.strip())]
        else:
            inner = f"[{match['extras']}]" if match["extras"] else ""
            found.append(f"{match['package']}{inner}{match['version'].strip()}")
    return list(dict.fromkeys(found))


def _declared() -> list[str]:
    try:
        return requires(NAME) or []
    except PackageNotFoundError:  # run from a checkout that nobody installed
        return []
