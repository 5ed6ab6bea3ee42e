"""docs/reference/cli.md: every verb with its options, from click."""

import inspect

import click

from docs.generate.tables import table
from harness.cli.main import VERBS, cli
from harness.errors import ExitCode

EXIT_CODES = {
    ExitCode.DONE: "done; for a gate: passed",
    ExitCode.GATE_FAILED: "the gate failed",
    ExitCode.USAGE: "a wrong flag, setting, name or file: the sentence says which",
    ExitCode.INCOMPLETE: "the run is not whole, or more answers are missing than allowed",
    ExitCode.NOT_COMPARABLE: "two results that must not be compared, or no baseline",
    ExitCode.INCONCLUSIVE: "the gate could not tell, and was asked to block then",
    ExitCode.CRASH: "an internal error (a bug in Bench)",
    ExitCode.INTERRUPTED: "Ctrl-C; what was answered is kept",
}


def commands() -> dict[str, click.Command]:
    """`run`, `baseline accept`, ..: every command that can be called, by its words after `bench`."""
    found: dict[str, click.Command] = {}
    context = click.Context(cli, info_name="bench")
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                found[f"{verb} {name}"] = inner
        else:
            found[verb] = command
    return found


def command_line_page() -> str:
    """The page."""
    all_verbs = table(["verb", "does"], [[f"`bench {name}`", line] for name, (_, line) in VERBS.items()])
    codes = table(["exit code", "meaning"], [[str(int(code)), said] for code, said in EXIT_CODES.items()])
    sections = "\n\n".join(_section(name, command) for name, command in commands().items())
    return (
        f"# Command line\n\n{all_verbs}\n\n`bench VERB --help` says the same in the terminal; "
        f"[shell completion](../shell.md) helps typing.\n\n{codes}\n\n"
        f"Of several, the first of 2, 4, 3, 1, 5, 0.\n\n{sections}\n"
    )


def _section(name: str, command: click.Command) -> str:
    words, examples = _told(command)
    context = click.Context(command, info_name=f"bench {name}")
    usage = " ".join(["bench", name, *(piece for piece in command.collect_usage_pieces(context))])
    rows = [[f"`{_flag(option)}`", _meaning(option)] for option in command.params if isinstance(option, click.Option)]
    parts = [f"## bench {name}", words, f"```text\n{usage}\n```"]
    if examples:
        parts.append(f"<!-- not run: examples; their options are checked -->\n```bash\n{examples}\n```")
    parts.append(table(["option", "meaning"], rows) if rows else "It has no options.")
    return "\n\n".join(parts)


def _told(command: click.Command) -> tuple[str, str]:
    """A command's help as a paragraph, and its examples (after `\\b`)."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    words = [" ".join(p.split()) for p in paragraphs if not p.startswith("\b")]
    examples = [p.removeprefix("\b").strip("\n") for p in paragraphs if p.startswith("\b")]
    return "\n\n".join(words), "\n".join(examples)


def _flag(option: click.Option) -> str:
    flags = ", ".join(option.opts + option.secondary_opts)
    if option.is_flag:
        return flags
    value = option.metavar or (
        " or ".join(option.type.choices) if isinstance(option.type, click.Choice) else option.type.name.upper()
    )
    return f"{flags} {value.replace('|', ' or ')}"


def _meaning(option: click.Option) -> str:
    said = option.help or ""
    marks = []
    if option.required:
        marks.append("Required.")
    if option.multiple:
        marks.append("May be given several times.")
    if option.show_default and option.default is not None:
        marks.append(f"Default: `{option.default}`.")
    return " ".join([said, *marks])
