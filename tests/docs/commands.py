"""Checks `bench ..` lines of blocks that are not run: verb, options and values must be those of Bench."""

import re
import shlex

import click

from harness.cli.main import cli


def check_commands(text: str) -> list[str]:
    """What is wrong with the `bench` commands of a script; empty when they could be typed as printed."""
    wrong = []
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.split(r"&&|\|\||[|;>]", line.split(" #")[0]):
            words = shlex.split(command.replace("[", "").replace("]", ""))
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words[:1] == ["bench"] and (said := _problem(words[1:])):
                wrong.append(f"`{command.strip()}`: {said}")
    return wrong


def _problem(words: list[str]) -> str:
    context = click.Context(cli, info_name="bench")
    command: click.Command = cli
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return ""
        try:
            name, found, words = command.resolve_command(context, words)
        except click.ClickException as error:
            return error.format_message()
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    try:
        command.make_context(context.info_name, list(words))
    except click.exceptions.Exit:  # --help
        return ""
    except click.ClickException as error:
        said = error.format_message()
        return "" if "does not exist" in said else said
    return ""
