"""`bench data`: look at rows, and make them."""

import sys
from pathlib import Path

import click

from harness.cli.options import data_option, json_option, quiet_option, task_option


@click.group()
def data() -> None:
    """Look at rows before trusting them, and make rows where there are none."""


@data.command()
@task_option
@data_option
@json_option
def check(task: str, data: str | None, as_json: bool) -> None:
    """Sizes, repeated rows, targets that teach an error, rows on both sides.

    \b
    bench data check --task persona-json --data rows/
    """
    import msgspec

    from harness.data_report import report_data
    from harness.plan import load_task

    report = report_data(load_task(task), data)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        return
    for sentence in report.sentences():
        click.echo(sentence)


@data.command()
@click.option(
    "--dump",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="Posts.xml of a Stack Exchange dump, or the .7z archive that holds it.",
)
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder for the rows.")
@click.option("--pairs", metavar="N", type=click.IntRange(min=1), help="Only the N highest-voted questions.")
@click.option("--site", default="stats.stackexchange.com", show_default=True, help="Where the links point.")
@json_option
@quiet_option
def crossvalidated(dump: Path, out: Path, pairs: int | None, site: str, as_json: bool, quiet: bool) -> None:
    """Rows for the task crossvalidated: best answers to the best questions of a dump.

    \b
    bench data crossvalidated --dump stats.stackexchange.com.7z --out rows/ --pairs 39668
    """
    import msgspec
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from harness.cli.rooms import PAIRS, load

    console = Console(stderr=True, quiet=quiet)
    with Progress(SpinnerColumn(), TextColumn("{task.completed:,} posts read"), console=console) as bar:
        task = bar.add_task("posts")
        built = load(PAIRS)(dump, out, pairs, site, lambda read: bar.update(task, completed=read))
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(built), indent=2) + b"\n")
        return
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in built.dropped.items()) or "none"
    click.echo(f"{built.read:,} posts read; dropped: {dropped}.")
    click.echo(f"{out}: {built.rows['train']:,} training and {built.rows['test']:,} test rows, {built.licence}.")
    click.echo(f"next: bench train --task crossvalidated --data {out}")
