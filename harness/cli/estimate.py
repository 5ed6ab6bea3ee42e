"""`bench estimate`: estimate the cost and duration of a run."""

from pathlib import Path
from typing import Unpack

import click

from harness.cli.options import (
    config_option,
    json_option,
    quiet_option,
    run_option,
    run_options,
)
from harness.cli.output import print_json
from harness.money.cost_estimate import CostEstimate
from harness.run_options import RunKeywords, RunOptions
from harness.text_format import split_names

NOTES = (
    "in, out: tokens; cost: answers as long as the reference answers (rows without one: as max_tokens allows); "
    "at most: as long as max_tokens allows; time: at the given rpm and tpm. "
    "~ counted as bytes / 4: the model's tokenizer is not available."
)


@click.command()
@run_option("task", required=True)
@run_option("backends", required=True)
@run_options("data", "limit", "seed", "base", "repeats", "batch", "shots", "prompt", "probe")
@config_option
@json_option
@quiet_option
def estimate(
    task: str, backends: str, config: Path | None, as_json: bool, quiet: bool, **options: Unpack[RunKeywords]
) -> None:
    """Estimate cost and duration of `bench run` with the same options. Nothing is sent.

    \b
    bench estimate --task agnews --backends gpt4 --limit 500
    """
    from rich.console import Console

    from harness.backend import RunContext
    from harness.execution.backend_setup import make_backends
    from harness.execution.run_plan import plan_run
    from harness.money.cost_estimate import estimate as estimate_one
    from harness.settings import load_settings
    from harness.workspace import Workspace

    asked = RunOptions.of(task, split_names(backends, "--backends"), options)
    settings = load_settings(config)
    context = RunContext(Workspace.current(), task=task, config=settings.path)
    plan = plan_run(asked, settings, context, out=None)
    made = make_backends(plan.manifest.backend_settings, plan.task.name, context)
    found = [
        estimate_one(name, backend.identity(), plan.requests_with_targets(), asked.repeats)
        for name, backend in made.items()
    ]
    if as_json:
        print_json(found)
    people = Console(stderr=as_json, quiet=as_json and quiet)
    people.print(_table(found))
    if not quiet:
        remarks = [f"{one.backend}: {remark}." for one in found for remark in one.remarks]
        notes = NOTES if any(one.approximate for one in found) else NOTES.split(" ~")[0]
        for sentence in (*plan.manifest.data["remarks"], *remarks):
            people.print(sentence, markup=False, highlight=False, soft_wrap=True)
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
