"""`bench monitor RUN..`: a candidate over runs on new traffic, with an alarm only when the error budget allows it."""

import sys

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.shell_completion import runs


@click.command()
@click.argument("runs", metavar="RUN..", shell_complete=runs, nargs=-1, required=True)
@click.option("--candidate", metavar="NAME", required=True, help="The backend that is monitored.")
@click.option("--reference", metavar="NAME", help="A backend of every run to compare it with.")
@click.option("--metric", metavar="NAME", help="A metric that is a mean over rows (default: the headline metric).")
@click.option("--margin", metavar="X", type=click.FloatRange(0), help="Largest acceptable loss against --reference.")
@click.option("--at-least", metavar="X", type=float, help="Or the promised value of the candidate's own figure.")
@click.option(
    "--alpha",
    metavar="P",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Probability of any false alarm, however many runs there will be.",
)
@json_option
@quiet_option
def monitor(
    runs: tuple[str, ...],
    candidate: str,
    reference: str | None,
    metric: str | None,
    margin: float | None,
    at_least: float | None,
    alpha: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Monitor a candidate over runs on new rows. Exit code 1 is an alarm.

    \b
    bench monitor runs/2026-* --candidate llama-ft --at-least 0.85
    bench monitor runs/2026-* --candidate llama-ft --reference gpt4 --margin 0.02
    """
    import msgspec
    from rich.console import Console

    from harness.errors import ExitCode
    from harness.gating.evaluate import GateSource
    from harness.gating.monitoring import monitor_runs
    from harness.reports.terminal_table import print_monitor
    from harness.runs.run_log import RunLog
    from harness.workspace import Workspace

    workspace = Workspace.current()
    sources = [GateSource.of_run(RunLog.open(workspace.find_run(word))) for word in dict.fromkeys(runs)]
    result = monitor_runs(
        sources, candidate, reference=reference, metric=metric, margin=margin, at_least=at_least, alpha=alpha
    )
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    print_monitor(result, Console(stderr=as_json, quiet=as_json and quiet))
    return ExitCode.DONE if result.alarm is None else ExitCode.GATE_FAILED
