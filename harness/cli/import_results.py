"""`bench import`: results of other evaluation tools as run directories."""

from pathlib import Path

import click

from harness.cli.options import json_option, quiet_anyway
from harness.text_format import count_noun

TOOLS = ("lm-eval", "inspect", "promptfoo", "deepeval")


@click.command("import")
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--from", "tool", type=click.Choice(TOOLS), required=True, help="The tool that wrote them.")
@click.option("--name", metavar="NAME", help="Name of the backend (default: after the model).")
@click.option("--task", metavar="NAME", help="Name of the task (default: the tool's).")
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="Run directory (default: in the workspace)."
)
@json_option
@quiet_anyway
def import_results(
    results: tuple[Path, ...], tool: str, name: str | None, task: str | None, out: Path | None, as_json: bool
) -> None:
    """Make run directories of other tools' results; compare, gate, power, leaderboard and report read them.

    \b
    bench import lm_eval_out/ --from lm-eval
    bench import logs/2026-05-01_topics.eval --from inspect
    """
    import msgspec

    from harness.tool_logs.run_directory import import_runs, read_evaluations
    from harness.workspace import Workspace

    done = import_runs(read_evaluations(results, tool), Workspace.current(), name=name, task=task, out=out)
    if as_json:
        click.echo(msgspec.json.encode([{**run._asdict(), "path": str(run.path)} for run in done]))
        return
    for run in done:
        click.echo(f"{run.path}: {run.task}, {count_noun(run.rows, 'row')}, {', '.join(run.backends)}")
        for remark in run.remarks:
            click.echo(f"! {remark}", err=True)
    click.echo(f"next: bench report {done[-1].path}")
