"""The tree of errors. Each is one sentence for the user and an exit code for a machine.

    BenchError
    |- UsageError                 exit 2: something to correct before the command can run
    |  |- SettingsError           bench.toml, a recipe, a task file, or a flag's value
    |  |- DataError               rows: unreadable files, missing columns, impossible references
    |  |- NotFoundError           no task, backend, run or adapter of this name
    |  |- MissingExtraError       an optional dependency is not installed
    |  |- UnreachableError        a server that cannot be reached
    |  `- StorageError            object storage that refuses or cannot be reached
    |- IncompleteRunError         exit 3: rows are missing, or too many infrastructure errors
    |- BackendStopped             exit 3: a fatal answer ended this backend; `kind` names the reason
    |- NotComparableError         exit 4: results that must not be compared, or no baseline
    |- TrainingError              exit 2, or 3 where a process was lost: a training that cannot continue
    `- InterruptedRunError        exit 130: Ctrl-C; what was answered is on disk

Code that calls Bench from Python catches the narrowest class that it means; every class is exported by `harness`.
"""

from collections.abc import Iterable
from enum import IntEnum


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
    """An error that the user can fix. The message says what is wrong, where, and what to do.

    `exit_code` is the exit code of a command that ends with it.
    """

    exit_code = ExitCode.USAGE


class UsageError(BenchError):
    """A wrong flag, setting, name or input file."""


class SettingsError(UsageError):
    """A wrong value or an unknown key in bench.toml, a recipe, a task file or a flag."""


class DataError(UsageError):
    """Rows that cannot be used: an unreadable file, a missing column, a reference that cannot be right."""


class NotFoundError(UsageError):
    """No task, backend, run, recipe or adapter of this name."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed; the message gives the command that installs it."""


class StorageError(UsageError):
    """Object storage that refuses an operation or cannot be reached."""


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


class TrainingError(BenchError):
    """A training that cannot continue."""


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
    from difflib import get_close_matches  # not for every start of `bench`

    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    return f"{guess} (known: {', '.join(known)})" if known else guess
