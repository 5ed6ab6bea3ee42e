"""`bench data`: look at rows, and make them."""

import sys

import click

from harness.cli.options import data_option, json_option, task_option


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
