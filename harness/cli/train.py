"""`bench train`: train an adapter from rows and a recipe, or several to choose from."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import (
    data_option,
    json_option,
    limit_option,
    prompt_option,
    quiet_option,
    same_command,
    task_option,
)
from harness.cli.output import print_json
from harness.cli.shell_completion import recipes
from harness.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.adapters.train_options import TrainOptions


@click.command()
@task_option
@click.option("--base", metavar="MODEL", help="Base model: a Hub id or a folder (default: the recipe's).")
@click.option(
    "--recipe", metavar="R", shell_complete=recipes, help="A recipe's name or a TOML file (default: the task's)."
)
@data_option
@click.option(
    "--test-share", metavar="SHARE", type=float, help="Split one --data file: the rest of this share is trained on."
)
@limit_option
@prompt_option
@click.option("--seed", metavar="S", type=int, help="Random seed (default: the recipe's).")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change a recipe field: --set lora.r=8.")
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Train N times, with seeds S, S+1, ..; show the spread.",
)
@click.option(
    "--sweep",
    "sweeps",
    metavar="KEY=V,V",
    multiple=True,
    help="Train each value and rank on validation rows; repeat for a grid.",
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="Adapter folder (default: in the workspace, current)."
)
@click.option(
    "--max-cost",
    metavar="USD",
    type=click.FloatRange(min=0),
    help="Hosted: refuse before the upload if it could cost more.",
)
@click.option("--cancel", is_flag=True, help="Hosted: cancel the job of this training at its provider.")
@click.option(
    "--track",
    type=click.Choice(["mlflow", "wandb", "trackio", "tensorboard"]),
    metavar="NAME",
    help="Log to tensorboard, mlflow, wandb or trackio; offline.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be trained, with steps, memory and time.")
@click.option("--launch", type=click.Choice(["accelerate"]), help="Start several training processes.")
@click.option(
    "--num-processes", metavar="N", type=click.IntRange(min=1), help="Number of processes (default: one per GPU)."
)
@json_option
@quiet_option
def train(
    task: str,
    base: str | None,
    recipe: str | None,
    data: str | None,
    test_share: float | None,
    limit: int | None,
    prompt: str | None,
    seed: int | None,
    overrides: tuple[str, ...],
    seeds: int,
    sweeps: tuple[str, ...],
    out: Path | None,
    max_cost: float | None,
    cancel: bool,
    track: str | None,
    dry_run: bool,
    launch: str | None,
    num_processes: int | None,
    as_json: bool,
    quiet: bool,
) -> int | None:
    """Fine-tune an adapter on a task's training rows: locally, or at a provider.

    \b
    bench train --task agnews
    bench train --task agnews --base ./my-llama --data rows/ --set lora.r=8
    bench train --task agnews --sweep learning_rate=1e-4,2e-4 --seeds 3
    bench train --task persona-json --recipe gpt-3.5-turbo-persona --max-cost 5
    """
    from rich.console import Console

    from harness.adapters import dispatch, train_options
    from harness.workspace import Workspace

    if test_share is not None:
        from harness.runner import split_once

        data = str(split_once(data, test_share, Workspace.current()))
        click.echo(f"training and test rows are in {data}", err=True)
    if seed is not None:
        overrides = (*overrides, f"seed={seed}")
    options = train_options.TrainOptions(
        task, base, recipe, overrides, data, limit, out, prompt, max_cost=max_cost, track=track
    )
    if cancel:
        message = dispatch.cancel(options, Workspace.current())
        print_json({"said": message}) if as_json else click.echo(message)
        return None
    if dry_run:
        record, text = dispatch.dry_run(options, sweeps, seeds)
        print_json(record) if as_json else click.echo(text)
        return None
    if launch is not None:
        return _launch_processes(num_processes)
    if num_processes is not None:
        raise UsageError("--num-processes goes with --launch accelerate.")
    _train_and_report(options, sweeps, seeds, Console(stderr=True, quiet=quiet), as_json)
    return None


def _launch_processes(count: int | None) -> int:
    """Run this command in several processes and return their exit code."""
    from harness.adapters import dispatch, launch

    dispatch.need_local()
    return launch.launch(same_command(without=("launch", "num_processes")), count)


def _train_and_report(
    options: "TrainOptions", sweeps: tuple[str, ...], seeds: int, console: "Console", as_json: bool
) -> None:
    """Train one adapter or a group, write the training pages, and print the summary (on one process of several)."""
    from harness.adapters import dispatch
    from harness.workspace import Workspace

    workspace = Workspace.current()
    if sweeps or seeds > 1:
        done = dispatch.train_group(options, sweeps, seeds, workspace, console)
        folder, manifest, folders = done.folder, done.manifest, done.folders
        from harness.adapters import text_summary

        record, text = {"group": done.group}, text_summary.ranked(done.group) + "\n"
    else:
        folder, manifest = dispatch.train(options, workspace, console)
        record, text, folders = {}, "", [folder]
    if not dispatch.prints_results():
        return
    from harness.reports.training_page import write_training_report  # loaded once the recipe is known to be right

    for trained in folders:
        write_training_report(trained)
    report = folder / "report.html"
    if as_json:
        print_json({"path": str(folder), "manifest": manifest, "report": str(report), **record})
    else:
        from harness.adapters import text_summary

        click.echo(f"{text}report: {report}\n{text_summary.training_summary(folder, manifest, options.task)}")
