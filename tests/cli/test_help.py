"""Every help page reads well on 80 columns: no longer line, every option explained, an example where one helps."""

import click
import pytest
from click.testing import CliRunner

from docs.generate.command_line import commands
from harness.cli.main import VERBS, cli

COMMANDS = commands()
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}


@pytest.mark.parametrize("words", ["", *sorted(GROUPS), *COMMANDS])
def test_a_help_page_fits_80_columns(words: str) -> None:
    shown = CliRunner().invoke(cli, [*words.split(), "--help"], prog_name="bench", terminal_width=80)
    assert shown.exit_code == 0
    long = [line for line in shown.output.splitlines() if len(line) > 80]
    assert not long
    assert "..." not in shown.output.partition("\nCommands:")[2], "the line of a command is cut off"
    assert shown.output.splitlines()[0].startswith(f"Usage: bench {words}".rstrip())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_command_is_explained_in_sentences(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, name
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts[0]}"
            assert option.help[0] == option.help[0].upper(), f"{name} {option.opts[0]} begins with a small letter"
            assert option.help.endswith((".", ")")), f"{name} {option.opts[0]} does not end like a sentence"


def test_the_front_page_names_every_verb_with_one_line() -> None:
    page = CliRunner().invoke(cli, ["--help"], prog_name="bench", terminal_width=80).output
    for verb, (_, line) in VERBS.items():
        assert f"  {verb} " in page
        assert len(line) <= 66, verb
        assert line in page, f"the line of {verb} is broken in two"
