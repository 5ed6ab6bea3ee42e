"""`bench run`: the same prompts to every candidate, one run directory."""

import sys
from pathlib import Path
from typing import Any

import click

from harness.cli.options import (
    base_option,
    batch_option,
    config_option,
    data_option,
    json_option,
    limit_option,
    probe_option,
    prompt_option,
    quiet_option,
    repeats_option,
    seed_option,
    shots_option,
    split_names,
)
from harness.cli.shell_completion import backends, runs, tasks
from harness.errors import UsageError

FROM_MANIFEST = (
    *("task", "backends", "data", "limit", "seed", "base", "repeats", "probe_rows", "batch", "out"),
    *("shots", "prompt", "probe", "fail_on_contamination", "early_stop", "executor", "workers"),
    *("incumbent", "candidate"),
)
"""Options that a resumed run takes from its manifest."""


@click.command()
@click.option("--task", metavar="TASK", shell_complete=tasks, help="A task's name, ./file.toml or ./file.py:Class.")
@click.option(
    "--backends",
    metavar="A,B",
    shell_complete=backends,
    help="Names from bench.toml or built in (bench list backends).",
)
@data_option
@limit_option
@seed_option
@base_option
@repeats_option
@click.option(
    "--latency-probe",
    "probe_rows",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="First ask N rows of each backend one at a time, to measure latency.",
)
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0), help="Stop before the run incurs more.")
@click.option("--no-cache", is_flag=True, help="Ask again what the answer cache knows.")
@batch_option
@click.option("--executor", type=click.Choice(["process", "ray"]), help="Where local models run.")
@click.option("--workers", metavar="N", type=click.IntRange(min=1), help="Ray workers that hold each local model.")
@shots_option
@prompt_option
@probe_option
@click.option("--fail-on-contamination", is_flag=True, help="Refuse rows that a candidate was trained on.")
@click.option("--embedding", metavar="MODEL", help="Compare open answers with their references by this model.")
@click.option(
    "--early-stop",
    metavar="BASELINE|RUN|BACKEND",
    help="Stop asking a backend once the gate's question against this is answered.",
)
@click.option(
    "--incumbent",
    metavar="NAME",
    shell_complete=backends,
    help="The backend that would be replaced (default: [verdict], else the API).",
)
@click.option(
    "--candidate",
    metavar="NAME",
    shell_complete=backends,
    help="The backend that would replace it (default: [verdict], else the tuned or local one).",
)
@click.option(
    "--out", metavar="DIR|URL", help="Run directory (default: in the workspace), or s3://.., gs://.., az://..."
)
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
    max_cost: float | None,
    embedding: str | None,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> int:
    """Ask every candidate the same prompts and write one run directory.

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
        common: dict[str, Any] = {
            "settings": settings,
            "max_cost": max_cost,
            "embedding": embedding,
            "use_cache": not no_cache,
            "observer": observer,
        }
        if resume is not None:
            _refuse_settled(ctx, resume)
            log = runner.resume(Workspace.current().find_run(resume), **common)
        else:
            task, backends = asked.pop("task"), asked.pop("backends")
            if not task or not backends:
                raise UsageError("say what to run: bench run --task TASK --backends A,B (or --resume RUN).")
            log = runner.run(task, split_names(backends, "--backends"), **asked, **common)
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


def _refuse_settled(ctx: click.Context, resume: str) -> None:
    """A resumed run is the run that was started; options that would change it are refused."""
    given = click.core.ParameterSource.COMMANDLINE
    settled = [n for n in FROM_MANIFEST if ctx.get_parameter_source(n) == given]
    if settled:
        flags = ", ".join({"probe_rows": "--latency-probe"}.get(n, f"--{n.replace('_', '-')}") for n in settled)
        raise UsageError(f"--resume {resume} takes {flags} from the run's manifest: leave out, or start a new run.")
