"""`bench parity`: whether a deployed copy answers as the model did."""

from pathlib import Path
from typing import Any

import click

from harness.cli.options import PageFile, config_option, json_option, quiet_option
from harness.cli.shell_completion import adapters, backends, runs, tasks


@click.command()
@click.argument("reference", metavar="ADAPTER|BACKEND", shell_complete=adapters)
@click.option("--served", metavar="BACKEND", required=True, shell_complete=backends, help="The copy to be judged.")
@click.option(
    "--task", metavar="TASK", shell_complete=tasks, help="Task whose rows are asked (default: the adapter's)."
)
@click.option("--data", metavar="PATH", help="Rows, as in `bench run` (default: the adapter's own).")
@click.option("--rows", metavar="N", type=click.IntRange(min=1), default=500, show_default=True, help="Rows to ask.")
@click.option(
    "--margin",
    metavar="POINTS",
    type=float,
    default=1.0,
    show_default=True,
    help="Largest difference of a metric, either way, that counts as alike.",
)
@click.option("--seed", metavar="S", type=int, default=0, show_default=True, help="Random seed of the rows.")
@click.option(
    "--latency-probe",
    "probe_rows",
    metavar="N",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Rows of each side that are asked one at a time first.",
)
@click.option("--on-inconclusive", type=click.Choice(["warn", "block"]), default="warn", help="Exit code 0 or 5.")
@click.option(
    "--run",
    metavar="RUN",
    shell_complete=runs,
    help="Use the served answers of this run, and finish it where some are missing.",
)
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0), help="Stop before the answers cost more.")
@click.option(
    "--out",
    metavar="FILE",
    type=PageFile(),
    help="Output file of the page (default: parity.html beside the answers).",
)
@click.option("--redact", is_flag=True, help="Omit rows and answers from the page, for sharing.")
@config_option
@json_option
@quiet_option
def parity(
    reference: str,
    run: str | None,
    out: Path | None,
    redact: bool,
    config: Path | None,
    as_json: bool,
    quiet: bool,
    margin: float,
    **options: Any,
) -> int:
    """Ask a model and its served copy the same rows: alike, not alike, or not shown yet, and why.

    \b
    bench parity my-adapter --served vllm --margin 0.5
    bench parity gpt4 --served gpt4-through-proxy --task agnews --rows 1000

    Exit codes: 0 alike, 1 not alike, 2 usage, 3 incomplete, 4 not comparable,
    5 not shown yet with --on-inconclusive block.
    """
    from rich.console import Console

    from harness.cli.output import print_json
    from harness.cli.run_display import observed
    from harness.deployment.parity_run import ParityOptions, run_parity
    from harness.settings import load_settings
    from harness.workspace import Workspace

    people, workspace = Console(stderr=True), Workspace.current()
    answered = None if run is None else workspace.find_run(run)
    with observed(people, quiet=quiet) as observer:
        result, folder = run_parity(
            reference,
            ParityOptions(margin=margin / 100, run=answered, **options),
            settings=load_settings(config),
            workspace=workspace,
            observer=observer,
        )
    from harness.reports import parity_page

    page = parity_page.write_parity(result, out or folder / "parity.html", redact=redact)
    if as_json:
        print_json(result)
    if not (as_json and quiet):
        parity_page.print_parity(result, people if as_json else Console())
    if not quiet:
        people.print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)
    return result.exit_code
