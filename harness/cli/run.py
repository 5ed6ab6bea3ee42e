"""`bench run`: the same prompts to every candidate, one run directory."""

import sys
from pathlib import Path
from typing import Any

import click

from harness.cli.options import config_option, json_option, quiet_option, run_options
from harness.cli.shell_completion import runs
from harness.errors import UsageError
from harness.run_options import SESSION_OPTIONS, RunOptions
from harness.text_format import split_names


@click.command()
@run_options(*RunOptions.__struct_fields__)
@click.option("--resume", metavar="RUN", shell_complete=runs, help="Finish a run: a path, a short id, or 'last'.")
@config_option
@json_option
@quiet_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    resume: str | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Send every candidate the same prompts and write one run directory.

    \b
    bench run --task agnews --backends llama-ft,gpt4 --limit 500
    bench run --task agnews --backends llama-ft,gpt4 --incumbent gpt4
    bench run --resume last
    """
    from rich.console import Console

    from harness import runner
    from harness.cli.run_display import observed
    from harness.runs.object_storage import remote_url
    from harness.settings import load_settings
    from harness.workspace import Workspace

    settings = load_settings(config)
    people = Console(stderr=True)
    with observed(people, quiet=quiet) as observer:
        if resume is not None:
            _refuse_fixed(ctx, resume)
            session = {name: options[name] for name in SESSION_OPTIONS}
            path = Workspace.current().find_run(resume)
            log = runner.resume(path, settings=settings, observer=observer, **session)
        else:
            task, backends = options.pop("task"), options.pop("backends")
            if not task or not backends:
                raise UsageError("specify what to run: bench run --task TASK --backends A,B (or --resume RUN).")
            names = split_names(backends, "--backends")
            log = runner.run(task, names, settings=settings, observer=observer, **options)
    summary = log.summary()
    assert summary is not None
    if as_json:
        sys.stdout.buffer.write((log.path / "summary.json").read_bytes())
    if not (as_json and quiet):
        from harness.reports import terminal_table

        terminal_table.print_summary(summary, people if as_json else Console())
    if not quiet:
        where = remote_url(log.path) or str(log.path)
        people.print(f"run: {where}\nnext: bench report {where}", markup=False, highlight=False, soft_wrap=True)
    return int(runner.exit_code(summary))


def _refuse_fixed(ctx: click.Context, resume: str) -> None:
    """A resumed run keeps its settings; options that would change it are refused."""
    typed = click.core.ParameterSource.COMMANDLINE
    fixed = [name for name in RunOptions.__struct_fields__ if name not in SESSION_OPTIONS]
    names = [name for name in fixed if ctx.get_parameter_source(name) == typed]
    if names:
        flags = ", ".join(parameter.opts[0] for parameter in ctx.command.params if parameter.name in names)
        raise UsageError(f"--resume {resume} takes {flags} from the run's manifest: leave out, or start a new run.")
