"""`bench estimate`: estimate the cost and duration of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

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

if TYPE_CHECKING:
    from harness.reports.terminal_table import TerminalColumn

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
    from rich.text import Text

    from harness.reports.terminal_table import fitting_table, no_room

    table, hidden = fitting_table(_columns(found), people.width, kept=2)
    people.print(f"{found[0].requests:,} requests a backend, USD", markup=False, highlight=False)
    people.print(table)
    if hidden:
        people.print(Text(no_room(hidden), style="dim"))
    if not quiet:
        remarks = [f"{one.backend}: {remark}." for one in found for remark in one.remarks]
        notes = NOTES if any(one.approximate for one in found) else NOTES.split(" ~")[0]
        for sentence in (*plan.manifest.data["remarks"], *remarks):
            people.print(sentence, markup=False, highlight=False, soft_wrap=True)
        people.print(notes, markup=False, highlight=False)


def _columns(found: list[CostEstimate]) -> "list[TerminalColumn]":
    """The figures that decide first, so that a narrow terminal leaves out the tokens."""
    from rich.text import Text

    from harness.reports.terminal_table import TerminalColumn

    mark = ["~" if one.approximate else "" for one in found]
    marked = list(zip(mark, found, strict=True))
    return [
        TerminalColumn("backend", [Text(one.backend) for one in found], numeric=False, folds=True),
        TerminalColumn("cost", [_usd(one.cost, sign) for sign, one in marked]),
        TerminalColumn("at most", [_usd(one.most_cost, sign) for sign, one in marked]),
        TerminalColumn("batch", [_usd(one.batch_cost, sign) for sign, one in marked]),
        TerminalColumn("time", [_time(one.seconds) for one in found]),
        TerminalColumn("in", [f"{sign}{one.prompt_tokens:,}" for sign, one in marked]),
        TerminalColumn("out", [f"{sign}{one.answer_tokens:,}" for sign, one in marked]),
        TerminalColumn("model", [Text(one.model) for one in found], numeric=False, folds=True),
    ]


def _usd(cost: float | None, mark: str) -> str:
    return "unknown" if cost is None else f"{mark}{cost:.4f}" if cost < 1 else f"{mark}{cost:,.2f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
