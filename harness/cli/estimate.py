"""`bench estimate`: what a run will cost, before it does."""

from pathlib import Path

import click

from harness.cli.completion import backends
from harness.cli.options import (
    config_option,
    data_option,
    json_option,
    limit_option,
    quiet_option,
    seed_option,
    split_names,
    task_option,
)
from harness.money.estimate import CostEstimate

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
@click.option("--repeats", metavar="K", type=click.IntRange(min=1), default=1, help="Ask every row K times.")
@config_option
@json_option
@quiet_option
def estimate(
    task: str,
    backends: str,
    data: str | None,
    limit: int | None,
    seed: int,
    repeats: int,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Count tokens and say what a run would cost and how long it would take. Nothing is sent.

    \b
    bench estimate --task agnews --backends gpt4 --limit 500
    """
    import msgspec
    from rich.console import Console

    from harness.asking.plan import RunOptions, ask, backend_tables, load_rows, load_task, make_backends
    from harness.backend import RunContext
    from harness.data.rows import DataSource
    from harness.data.sampling import seeded_order
    from harness.money.estimate import estimate as estimate_one
    from harness.prompting.targets import target_of
    from harness.settings import load_settings
    from harness.workspace import Workspace

    plugin = load_task(task)
    options = RunOptions(task=task, backends=tuple(split_names(backends, "--backends")))
    tables = backend_tables(options, load_settings(config))
    made = make_backends(tables, plugin.name, RunContext(Workspace.current()))
    rows = seeded_order(load_rows(plugin, DataSource(location=data)), seed)[:limit]
    asked = [(ask(plugin, sample), target_of(plugin, sample)) for sample in rows]
    found = [estimate_one(name, backend.identity(), asked, repeats) for name, backend in made.items()]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    people = Console(stderr=as_json, quiet=as_json and quiet)
    people.print(_table(found))
    for one in found:
        for remark in one.remarks:
            people.print(f"{one.backend}: {remark}.", markup=False, highlight=False, soft_wrap=True)
    if not quiet:
        notes = NOTES if any(one.approximate for one in found) else NOTES.split(" ~")[0]
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
