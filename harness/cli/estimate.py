"""`bench estimate`: what a run will cost, before it does."""

from pathlib import Path

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
    task_option,
)
from harness.cli.output import print_json
from harness.cli.shell_completion import backends
from harness.money.cost_estimate import CostEstimate
from harness.prompting.prompt_variants import Probe

NOTES = (
    "in, out: tokens; cost: answers as long as the reference answers (rows without one: as max_tokens allows); "
    "at most: as long as max_tokens allows; time: at the given rpm and tpm. "
    "~ counted as bytes / 4: no tokeniser of that model is at hand."
)


@click.command()
@task_option
@click.option(
    "--backends", metavar="A,B", shell_complete=backends, required=True, help="Names from bench.toml or built in."
)
@data_option
@limit_option
@seed_option
@base_option
@repeats_option
@batch_option
@shots_option
@prompt_option
@probe_option
@config_option
@json_option
@quiet_option
def estimate(
    task: str,
    backends: str,
    data: str | None,
    limit: int | None,
    seed: int,
    base: str | None,
    repeats: int,
    batch: bool,
    shots: int,
    prompt: str | None,
    probe: Probe | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Say what `bench run` with the same words would cost, and how long it would take. Nothing is sent.

    \b
    bench estimate --task agnews --backends gpt4 --limit 500
    """
    from rich.console import Console

    from harness.backend import RunContext
    from harness.execution.run_plan import RunOptions, make_backends, plan_run
    from harness.money.cost_estimate import estimate as estimate_one
    from harness.prompting.prompt_variants import Questions
    from harness.settings import load_settings
    from harness.workspace import Workspace

    options = RunOptions(
        task=task,
        backends=tuple(split_names(backends, "--backends")),
        data=data,
        limit=limit,
        seed=seed,
        base=base,
        repeats=repeats,
        batch=batch,
        questions=Questions(shots=shots, prompt=prompt, probe=probe),
    )
    settings = load_settings(config)
    context = RunContext(Workspace.current(), task=task, config=settings.path)
    plan = plan_run(options, settings, context, out=None)
    made = make_backends(plan.manifest.backend_settings, plan.task.name, context)
    found = [estimate_one(name, backend.identity(), plan.solved(), repeats) for name, backend in made.items()]
    if as_json:
        print_json(found)
    people = Console(stderr=as_json, quiet=as_json and quiet)
    people.print(_table(found))
    if not quiet:
        remarks = [f"{one.backend}: {remark}." for one in found for remark in one.remarks]
        notes = NOTES if any(one.approximate for one in found) else NOTES.split(" ~")[0]
        for said in (*plan.manifest.data["remarks"], *remarks):
            people.print(said, markup=False, highlight=False, soft_wrap=True)
        people.print(notes, markup=False, highlight=False)


def _table(found: list[CostEstimate]) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"{found[0].requests:,} requests a backend, USD", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    for heading in ("backend", "model"):
        table.add_column(heading, no_wrap=True)
    for heading in ("in", "out", "cost", "at most", "batch", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        mark = "~" if one.approximate else ""
        table.add_row(
            Text(one.backend),
            Text(one.model),
            f"{mark}{one.prompt_tokens:,}",
            f"{mark}{one.answer_tokens:,}",
            *(_usd(cost, mark) for cost in (one.cost, one.most_cost, one.batch_cost)),
            _time(one.seconds),
        )
    return table


def _usd(cost: float | None, mark: str) -> str:
    return "unknown" if cost is None else f"{mark}{cost:.4f}" if cost < 1 else f"{mark}{cost:,.2f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
