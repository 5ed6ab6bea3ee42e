"""Options that several verbs share, with the same meaning everywhere."""

from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click
import msgspec

from harness.cli.shell_completion import backends, tasks
from harness.run_options import RunOptions

F = TypeVar("F", bound=Callable[..., Any])
QUIET = "No progress, no remarks; results and errors only."

PAGES = (".html", ".htm")


class PageFile(click.Path):
    """The file of a page: a name with another suffix is refused before anything is computed. extra: suffixes of
    charts that the verb writes too."""

    def __init__(self, *extra: str) -> None:
        super().__init__(path_type=Path, dir_okay=False)
        self.suffixes = (*PAGES, *extra)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. Fails for a suffix that says something else than what would be written."""
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix.lower() not in self.suffixes:
            from harness.text_format import listing

            names = listing([suffix for suffix in self.suffixes if suffix != ".htm"], "or")
            self.fail(f"'{value}': a page is written, so take a name that ends in {names}.", param, ctx)
        return path


_COMPLETIONS = {"tasks": tasks, "backends": backends}


def run_option(name: str, *, required: bool = False) -> Callable[[F], F]:
    """The flag of one field of RunOptions: its name, type, limits, default and help text."""
    hint = get_type_hints(RunOptions, include_extras=True)[name]
    (default,) = (f.default for f in msgspec.structs.fields(RunOptions) if f.name == name)
    about = next(meta for meta in hint.__metadata__ if meta.description)
    extra = dict(about.extra or {})
    attributes: dict[str, Any] = {"help": about.description, "required": required}
    attributes |= _type_of(hint, extra)
    if attributes.get("is_flag"):
        attributes |= {"callback": _negated} if default else {}
    else:
        attributes["metavar"] = extra.get("metavar")
        attributes["show_default"] = bool(extra.get("default"))
        if default is not msgspec.NODEFAULT:
            attributes["default"] = default
        if "completes" in extra:
            attributes["shell_complete"] = _COMPLETIONS[extra["completes"]]
    return click.option(extra.get("flag", f"--{name.replace('_', '-')}"), name, **attributes)


def share_option(what: str) -> Callable[[F], F]:
    """`--test SHARE`, the share of the rows (or calls) of a file that become test rows."""
    share = click.FloatRange(min=0, max=1, min_open=True, max_open=True)
    text = f"Share of the {what} that become test rows."
    return click.option("--test", "share", metavar="SHARE", type=share, default=0.2, show_default=True, help=text)


def run_options(*names: str) -> Callable[[F], F]:
    """The flags of these fields of RunOptions, in this order."""

    def with_options(function: F) -> F:
        for name in reversed(names):
            function = run_option(name)(function)
        return function

    return with_options


def _type_of(hint: Any, extra: dict[str, Any]) -> dict[str, Any]:
    """click's type for a field: a flag, a choice, a bounded number, an existing file, or text."""
    least: Any = None
    while True:  # Annotated[Annotated[int, ge=1] | None, ..]: down to the bare type
        for meta in getattr(hint, "__metadata__", ()):
            least = meta.ge if meta.ge is not None else least
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif get_origin(hint) in (Union, UnionType):
            hint = next(part for part in get_args(hint) if part is not NoneType)
        else:
            break
    if hint is bool:
        return {"is_flag": True}
    if get_origin(hint) is Literal:
        return {"type": click.Choice(get_args(hint))}
    if hint is int:
        return {"type": int if least is None else click.IntRange(min=least)}
    if hint is float:
        return {"type": float if least is None else click.FloatRange(min=least)}
    if extra.get("path") == "file":
        return {"type": click.Path(exists=True, dir_okay=False)}
    return {}


def _negated(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """A flag that turns off what is on by default."""
    return not value


task_option = run_option("task", required=True)
data_option = run_option("data")
seed_option = run_option("seed")
limit_option = run_option("limit")
prompt_option = run_option("prompt")


def config_option(function: F) -> F:
    """`--config FILE`: instead of the nearest bench.toml."""
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Settings file (default: the nearest bench.toml upwards).",
    )(function)


def json_option(function: F) -> F:
    """`--json`: for machines, on standard output."""
    return click.option(
        "--json", "as_json", is_flag=True, help="JSON on standard output; other text on standard error."
    )(function)


def quiet_option(function: F) -> F:
    """`--quiet`: results only."""
    return click.option("--quiet", is_flag=True, help=QUIET)(function)


def quiet_anyway(function: F) -> F:
    """`--quiet` for verbs that print results only: accepted for uniformity, without effect."""
    return click.option("--quiet", is_flag=True, expose_value=False, help=QUIET)(function)


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
