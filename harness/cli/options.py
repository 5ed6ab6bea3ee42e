"""Options that several verbs share: the same words mean the same everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.shell_completion import tasks
from harness.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
QUIET = "No progress, no remarks; results and errors only."


def task_option(function: F) -> F:
    """`--task NAME`: a registered name, ./file.toml, or ./file.py:Class."""
    return click.option(
        "--task",
        "task",
        metavar="TASK",
        shell_complete=tasks,
        required=True,
        help="A task's name, ./file.toml or ./file.py:Class.",
    )(function)


def data_option(function: F) -> F:
    """`--data PATH`: rows from a file or folder, or the embedded sample."""
    return click.option(
        "--data",
        metavar="PATH",
        help="Rows: CSV, TSV, JSONL, JSON, Parquet, a folder with train and test, or 'embedded'. Default: the Hub.",
    )(function)


def config_option(function: F) -> F:
    """`--config FILE`: instead of the nearest bench.toml."""
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Settings file (default: the nearest bench.toml upwards).",
    )(function)


def seed_option(function: F) -> F:
    """`--seed S`."""
    return click.option("--seed", metavar="S", type=int, default=0, show_default=True, help="Seed of every choice.")(
        function
    )


def limit_option(function: F) -> F:
    """`--limit N`: a seeded sample with the split's class shares."""
    return click.option(
        "--limit", metavar="N", type=click.IntRange(min=1), help="Only N rows: a seeded sample with the class shares."
    )(function)


def base_option(function: F) -> F:
    """`--base MODEL`: in place of every local backend's own."""
    return click.option("--base", metavar="MODEL", help="Base model of all local backends: a Hub id or a folder.")(
        function
    )


def repeats_option(function: F) -> F:
    """`--repeats K`."""
    return click.option("--repeats", metavar="K", type=click.IntRange(min=1), default=1, help="Ask every row K times.")(
        function
    )


def batch_option(function: F) -> F:
    """`--batch`: paid backends answer later, for less."""
    return click.option(
        "--batch", is_flag=True, help="Paid backends use their batch API: half the price, hours of time."
    )(function)


def shots_option(function: F) -> F:
    """`--shots K`: few-shot examples."""
    return click.option(
        "--shots", metavar="K", type=click.IntRange(min=0), default=0, help="K solved rows before each question."
    )(function)


def prompt_option(function: F) -> F:
    """`--prompt FILE`: another prompt than the task's."""
    return click.option(
        "--prompt",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="Another prompt: a Jinja template.",
    )(function)


def probe_option(function: F) -> F:
    """`--probe blank|shuffle`: the leak probe."""
    return click.option(
        "--probe", type=click.Choice(["blank", "shuffle"]), help="Ask without the rows' own texts: finds leaks."
    )(function)


def json_option(function: F) -> F:
    """`--json`: for machines, on standard output."""
    return click.option(
        "--json", "as_json", is_flag=True, help="JSON on standard output; text for people on standard error."
    )(function)


def quiet_option(function: F) -> F:
    """`--quiet`: results only."""
    return click.option("--quiet", is_flag=True, help=QUIET)(function)


def quiet_anyway(function: F) -> F:
    """`--quiet` where a verb says nothing but results: taken, as every verb takes it, and without effect."""
    return click.option("--quiet", is_flag=True, expose_value=False, help=QUIET)(function)


def split_names(value: str, what: str) -> list[str]:
    """`a,b` as a list. Raises UsageError for an empty list or a name given twice."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{what} is empty: name at least one.")
    if len(set(names)) < len(names):
        raise UsageError(f"{what} names '{next(n for n in names if names.count(n) > 1)}' twice.")
    return names


def same_command(*, without: tuple[str, ...]) -> list[str]:
    """The words of the command that is running (its name and what was typed), but for some parameters."""
    context = click.get_current_context()
    words = [str(context.command.name)]
    for parameter in context.command.params:
        given = context.params.get(str(parameter.name))
        if parameter.name in without or given is None or given is False:
            continue
        for value in given if isinstance(given, tuple) else (given,):
            name = [] if isinstance(parameter, click.Argument) else [max(parameter.opts, key=len)]
            words += name if value is True else [*name, str(value)]
    return words
