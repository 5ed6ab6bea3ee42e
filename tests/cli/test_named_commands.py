"""Every `bench ..` command that a message of the source names can be typed: its verb and its options exist."""

import ast
import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

import click
import pytest

from harness.cli.main import cli, meant

ROOT = Path(__file__).parents[2]
PLACEHOLDER = "X"

NAMED = re.compile(
    r"`(bench (?:[^`])+)`|(?:next|then): (bench [^\n]+)|\((bench [a-z][^()]*)\)|^ *(bench [a-z-]+ [^\n]+)", re.M
)
"""A command in backticks, behind `next:`, alone in brackets, or on a line of its own (help pages)."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a file with their lines; what an f-string fills in is a placeholder."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    parts_of_others = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if id(node) in parts_of_others:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else PLACEHOLDER for p in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def commands() -> dict[str, str]:
    """Command -> where it is named."""
    found: dict[str, str] = {}
    for folder in ("harness", "adapters", "reports", "tasks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for line, text in texts(path):
                for match in NAMED.finditer(text.replace("\\\n", " ")):
                    command = next(filter(None, match.groups()))
                    for one in re.split(r"&&|\|| > |;| #", command):
                        if one.strip().startswith("bench "):
                            found.setdefault(one.strip(" .,:"), f"{path.relative_to(ROOT)}:{line}")
    return found


COMMANDS = commands()


def problem(command: str) -> str | None:
    """What cannot be typed of a command; None: nothing."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="")
    lexer.whitespace_split, lexer.commenters = True, ""
    words = meant([word.strip(",;") for word in lexer][1:])
    here: click.Command = cli
    context = click.Context(cli, info_name="bench")
    while isinstance(here, click.Group):
        if not words or words[0].startswith("-") or words[0].isupper() or words[0] in ("..", "..."):
            break
        verbs = [here.get_command(context, name) for name in words[0].split("|")]
        if verbs[0] is None or None in verbs:
            return f"no verb '{words[0]}'"
        here, words = verbs[0], words[1:]
        context = click.Context(here, info_name=here.name, parent=context)
    known = {"--help", "--version", *(o for p in here.params for o in (*p.opts, *p.secondary_opts))}
    words = words[: words.index("--")] if "--" in words else words  # what follows is another program's
    unknown = [word for word in words if re.fullmatch(r"--[a-z][a-z-]*", word) and word not in known]
    if unknown:
        return f"no option {unknown[0]}"
    if isinstance(here, click.Group) or any(word in ("..", "...", "--help", "--version") for word in words):
        return None  # the rest is for the reader to fill in
    try:
        values, extra, _ = here.make_parser(context).parse_args(words)
    except click.UsageError as error:  # an option without its value
        return error.format_message()
    choices = {p.name: p.type.choices for p in here.params if isinstance(p.type, click.Choice)}
    odd = [
        str(values[n]) for n in choices if isinstance(values.get(n), str) and not _may_be(str(values[n]), choices[n])
    ]
    extra = [word for word in extra if word.strip(PLACEHOLDER)]  # options that a message fills in, or not
    return f"'{(extra or odd)[0]}' has no place" if extra or odd else None


def _may_be(value: str, choices: Collection[str]) -> bool:
    """Whether a value is one of the choices, or a placeholder in capitals."""
    return value in choices or f"{value}s" in choices or value.isupper()


def test_messages_name_commands() -> None:
    assert len(COMMANDS) > 40
    assert any(command.startswith("bench train --task") for command in COMMANDS)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("bench tran --task X", "no verb 'tran'"),
        ("bench run --tsk X", "no option --tsk"),
        ("bench data split X", None),
        ("bench run --task", "Option '--task' requires an argument."),
        ("bench report a b", "'b' has no place"),
        ("bench new-task x --kind tomli", "'tomli' has no place"),
    ],
)
def test_a_command_that_cannot_be_typed_is_found(command: str, said: str | None) -> None:
    assert problem(command) == said


def test_every_command_that_a_message_names_can_be_typed() -> None:
    wrong = {f"{where}: `{command}`": said for command, where in COMMANDS.items() if (said := problem(command))}
    assert not wrong
