"""`bench data`: inspect, split, import and generate rows."""

from pathlib import Path
from typing import Literal

import click

from harness.cli.data_import import import_calls
from harness.cli.options import (
    config_option,
    data_option,
    json_option,
    limit_option,
    quiet_anyway,
    quiet_option,
    seed_option,
    share_option,
    task_option,
)
from harness.cli.output import print_json
from harness.cli.shell_completion import backends, runs, tasks
from harness.errors import UsageError
from harness.files import read_text


@click.group()
def data() -> None:
    """Inspect, split, import and generate rows."""


data.add_command(import_calls)


@data.command()
@task_option
@data_option
@json_option
@quiet_anyway
def check(task: str, data: str | None, as_json: bool) -> int:
    """Check rows: duplicates, invalid targets, shared rows.

    Exit code 2: rows that `bench run` or `bench train` would refuse.

    \b
    bench data check --task persona-json --data rows/
    """
    from harness.errors import ExitCode
    from harness.execution.data_report import report_data
    from harness.task_loading import load_task

    report = report_data(load_task(task), data)
    if as_json:
        print_json(report)
    else:
        for sentence in report.sentences():
            click.echo(sentence)
    unreadable = any(split.problems for split in report.splits.values())
    return ExitCode.USAGE if unreadable else ExitCode.DONE


@data.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder for the rows.")
@share_option("rows")
@click.option(
    "--by",
    type=click.Choice(["random", "group", "time"]),
    help="At random (default); groups stay whole; or the latest rows are test rows.",
)
@click.option("--column", metavar="COLUMN", help="Holds the group or the time.")
@click.option("--group", metavar="COLUMN", help="The same as --by group --column COLUMN.")
@click.option("--delimiter", metavar="CHARACTER", help="What separates the values of a CSV file (default: found).")
@click.option("--encoding", metavar="NAME", help="Of a CSV file (default: found).")
@seed_option
@json_option
@quiet_anyway
def split(
    file: Path,
    out: Path,
    share: float,
    by: Literal["random", "group", "time"] | None,
    column: str | None,
    group: str | None,
    delimiter: str | None,
    encoding: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Split one FILE into training and test rows.

    \b
    bench data split reviews.csv --out reviews/
    bench data split tickets.csv --out tickets/ --by time --column created
    """
    import json

    from harness.data.rows import DataSource, open_rows
    from harness.data.splitting import split_rows
    from harness.task_loading import collect_data_warnings
    from harness.text_format import count_noun

    if group is not None and (column is not None or by not in (None, "group")):
        raise UsageError("--group COLUMN stands for --by group --column COLUMN: give one of the two.")
    by, column = ("group", group) if group is not None else (by or ("group" if column else "random"), column)
    source = DataSource(location=str(file))
    with collect_data_warnings() as remarks:
        counts = split_rows(
            lambda: open_rows(source, delimiter=delimiter, encoding=encoding), out, share, by, column, seed
        )
    for remark in dict.fromkeys(remarks):
        click.echo(remark, err=True)
    if as_json:
        click.echo(json.dumps({"path": str(out), **counts}))
        return
    written = " and ".join(f"{count_noun(count, name + ' row')}" for name, count in counts.items())
    click.echo(f"{out}: {written.replace('train row', 'training row')}.")


@data.command()
@click.option(
    "--dump",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Posts.xml of a Stack Exchange dump, or the .7z archive that holds it.",
)
@click.option("--api", is_flag=True, help="Read from Stack Exchange's API, in place of a dump. Needs --pairs.")
@click.option("--api-url", metavar="URL", help="Address of the API (default: api.stackexchange.com).")
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder for the rows.")
@click.option("--pairs", metavar="N", type=click.IntRange(min=1), help="Only the N highest-voted questions.")
@click.option("--site", default="stats.stackexchange.com", show_default=True, help="Site that links point to.")
@json_option
@quiet_option
def crossvalidated(
    dump: Path | None,
    api: bool,
    api_url: str | None,
    out: Path,
    pairs: int | None,
    site: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build rows from a Stack Exchange dump or its API. For the task crossvalidated.

    \b
    bench data crossvalidated --dump stats.stackexchange.com.7z --out rows/
    bench data crossvalidated --api --pairs 2000 --out rows/
    """
    import os

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    if api == (dump is not None):
        raise UsageError("name one source: --dump FILE or --api.")
    if api and pairs is None:
        raise UsageError("--api needs --pairs N: a request brings 100 questions, and a day has 300 without a key.")
    console = Console(stderr=True, quiet=quiet)
    with Progress(SpinnerColumn(), TextColumn("{task.completed:,} posts read"), console=console) as bar:
        task = bar.add_task("posts")

        def progress(read: int) -> None:
            bar.update(task, completed=read)

        if dump is not None:
            from harness.tasks import stackexchange

            built = stackexchange.build_pairs(dump, out, pairs, site, progress)
        else:
            from harness.tasks import stackexchange_api

            key = os.environ.get("STACKEXCHANGE_KEY")
            url = api_url or stackexchange_api.API_URL
            assert pairs is not None
            built = stackexchange_api.fetch_pairs(out, pairs, site, url=url, key=key, progress=progress)
    if as_json:
        print_json(built)
        return
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in built.dropped.items()) or "none"
    click.echo(f"{built.read:,} posts read; dropped: {dropped}.")
    click.echo(f"{out}: {built.rows['train']:,} training and {built.rows['test']:,} test rows, {built.licence}.")
    click.echo(f"next: bench train --task crossvalidated --data {out}")


@data.command()
@task_option
@click.option(
    "--teacher",
    metavar="BACKEND",
    shell_complete=backends,
    required=True,
    help="Backend that answers, from bench.toml or built in; several with commas between.",
)
@click.option("--rows", metavar="N", type=click.IntRange(min=1), help="Number of rows (default: all of --data).")
@click.option(
    "--agree",
    metavar="N",
    type=click.IntRange(min=1),
    help="So many of several teachers must give one answer (default: more than half).",
)
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder for the rows.")
@data_option
@click.option(
    "--system",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The persona's instruction (default: the one in --data).",
)
@seed_option
@click.option(
    "--max-cost", metavar="USD", type=click.FloatRange(min=0), help="Stop before the teacher's cost exceeds this."
)
@config_option
@json_option
@quiet_option
def generate(
    task: str,
    teacher: str,
    rows: int | None,
    agree: int | None,
    out: Path,
    data: str | None,
    system: Path | None,
    seed: int,
    max_cost: float | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Generate training rows with a teacher model. They are checked by the task's own rules.

    \b
    bench data generate --task persona-json --teacher gpt4 --rows 200 \\
        --data rows/ --out taught/
    bench data generate --task ./tickets.toml --teacher gpt4,gpt35,llama-base \\
        --data new.csv --out taught/
    """
    from rich.console import Console

    from harness.cli.run_display import observed
    from harness.settings import load_settings
    from harness.synthetic_data import SyntheticDataOptions, SyntheticDataRun
    from harness.task_loading import load_task

    instruction = None if system is None else _text_of(system)
    order = SyntheticDataOptions(teacher=teacher, rows=rows, agree=agree, data=data, system=instruction, seed=seed)
    with observed(Console(stderr=True), quiet=quiet) as observer:
        teaching = SyntheticDataRun(
            load_task(task), order, out, load_settings(config), max_cost=max_cost, observer=observer
        )
        taught = teaching.run()
    if as_json:
        print_json(taught)
        return
    if taught.agreement:
        click.echo("agreement: " + ", ".join(f"{says} teachers on {n} rows" for says, n in taught.agreement.items()))
    for what, counts in (("answers not taken", taught.invalid), ("rows dropped", taught.dropped)):
        click.echo(f"{what}: " + (", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"))
    price = "unknown" if taught.cost_list is None else f"${taught.cost_list:.4f}"
    click.echo(f"{out}: {taught.rows['train']} training and {taught.rows['test']} test rows; cost {price}.")
    click.echo(f"next: bench train --task {task} --data {out}")


@data.command()
@task_option
@data_option
@click.option(
    "--teacher", metavar="BACKEND", shell_complete=backends, help="Backend that answers; several with commas between."
)
@click.option(
    "--apply",
    "decided",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take the decisions of this list back: writes rows to --out.",
)
@click.option(
    "--split", type=click.Choice(["train", "test", "both"]), default="both", show_default=True, help="Rows to ask."
)
@limit_option
@click.option(
    "--out",
    metavar="PATH",
    required=True,
    type=click.Path(path_type=Path),
    help="The list (CSV); with --apply the folder for the rows.",
)
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0), help="Stop before the cost exceeds this.")
@config_option
@json_option
@quiet_option
def audit(
    task: str,
    data: str | None,
    teacher: str | None,
    decided: Path | None,
    split: str,
    limit: int | None,
    out: Path,
    max_cost: float | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """List rows whose label a teacher disputes.

    \b
    bench data audit --task ./tickets.toml --teacher gpt4 --out disputed.csv
    (fill the column decision: teacher, label, drop, or the right answer)
    bench data audit --task ./tickets.toml --apply disputed.csv --out rows2/
    """
    from rich.console import Console

    from harness.cli.run_display import observed
    from harness.label_audit import apply_decisions, audit_labels
    from harness.settings import load_settings
    from harness.task_loading import load_task

    if (teacher is None) == (decided is None):
        raise UsageError("give --teacher BACKEND to list disputed rows, or --apply FILE to take decisions back.")
    if decided is not None:
        changed = apply_decisions(load_task(task), decided, out, data)
        if as_json:
            print_json(changed)
            return
        click.echo(
            f"{out}: {changed.changed} labels changed, {changed.dropped} rows dropped, {changed.kept} kept as is."
        )
        click.echo(f"next: bench data check --task {task} --data {out}")
        return
    splits = ("train", "test") if split == "both" else (split,)
    with observed(Console(stderr=True), quiet=quiet) as observer:
        report = audit_labels(
            load_task(task), str(teacher), out, load_settings(config), data=data, splits=splits, limit=limit,
            max_cost=max_cost, observer=observer,
        )  # fmt: skip
    if as_json:
        print_json(report)
        return
    for name, rows in report.rows.items():
        click.echo(f"{name}: {report.disputed[name]} of {rows} labels disputed")
    if report.unanswered:
        click.echo(f"{report.unanswered} rows have no well-formed answer of a teacher.")
    click.echo(f"{out}: fill the column decision (teacher, label, drop, or the right answer)")
    click.echo(f"next: bench data audit --task {task} --apply {out} --out DIR")


def _text_of(file: Path) -> str:
    try:
        return read_text(file).strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"--system {file} is not UTF-8 (byte {error.start}).") from None


@data.command()
@click.argument("traffic", metavar="TRAFFIC")
@click.option("--run", metavar="RUN", shell_complete=runs, help="The run whose figures are reweighted to the traffic.")
@click.option("--task", metavar="TASK", shell_complete=tasks, help="Without --run: the task whose rows are compared.")
@click.option("--data", metavar="PATH", help="Without --run: the task's rows, as in `bench run`.")
@seed_option
@json_option
@quiet_anyway
def shift(traffic: str, run: str | None, task: str | None, data: str | None, seed: int, as_json: bool) -> None:
    """Compare traffic with evaluated rows.

    A classifier tells TRAFFIC from the rows of a run or a task, and from its training rows; with --run the
    figures of the run are reweighted to the traffic.

    \b
    bench data shift logs/ --run last
    bench data shift logs/ --task agnews --data rows/
    """
    from harness.execution.data_report import shift_of_rows, shift_of_run
    from harness.runs.run_log import RunLog
    from harness.task_loading import load_task
    from harness.workspace import Workspace

    if (run is None) == (task is None):
        raise UsageError("name either the run whose rows are compared (--run RUN), or a task (--task TASK).")
    if run is not None:
        report = shift_of_run(RunLog.open(Workspace.current().find_run(run)), traffic, seed)
    else:
        assert task is not None
        report = shift_of_rows(load_task(task), data, traffic, seed)
    if as_json:
        print_json(report)
        return
    for sentence in report.sentences():
        click.echo(sentence)
