"""`bench data import`: rows, a task and recorded answers from a log of production calls."""

from pathlib import Path
from typing import Any

import click

from harness.cli.options import json_option, quiet_anyway, seed_option, share_option
from harness.cli.output import print_json

FORMS = ("openai-chat", "openai-stored", "langfuse", "otel", "csv")
COLUMNS = ("input", "output", "system", "time", "session", "expected")


def _column_options(function: Any) -> Any:
    """`--input COLUMN` and the others, for tables."""
    for what in reversed(COLUMNS):
        help_text = f"Column of a table that holds the {what} (default: by its name)."
        function = click.option(f"--{what}", f"{what}_column", metavar="COLUMN", help=help_text)(function)
    return function


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--as", "form", type=click.Choice(FORMS), required=True, help="The form of the log.")
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder for the rows.")
@click.option(
    "--by",
    type=click.Choice(["time", "session", "random"]),
    help="How test rows are chosen (default: the latest, where the log has times).",
)
@share_option("calls")
@click.option("--mask", is_flag=True, help="Replace e-mail addresses, telephone and card numbers.")
@click.option("--delimiter", metavar="C", help="What separates the values of a CSV file.")
@_column_options
@seed_option
@json_option
@quiet_anyway
def import_calls(
    file: Path,
    form: Any,
    out: Path,
    by: Any,
    share: float,
    mask: bool,
    delimiter: str | None,
    seed: int,
    as_json: bool,
    **columns: str | None,
) -> None:
    """Import a log of production calls: rows and a recording.

    \b
    bench data import calls.jsonl --as openai-chat --out support/
    bench data import traces.jsonl --as langfuse --by session --mask --out rows/
    """
    from harness.data.traces.log_import import LogImportOptions, import_log

    named = {what: column for what in COLUMNS if (column := columns[f"{what}_column"])}
    done = import_log(file, out, LogImportOptions(form, by, share, seed, mask, named, delimiter))
    if as_json:
        print_json(done)
        return
    for line in done.sentences():
        click.echo(line)
    click.echo(f"{out}: {done.rows['train']:,} training and {done.rows['test']:,} test rows, and recording.jsonl.")
    click.echo(
        f"next: cd {out} && bench train --task ./task.toml && bench run --task ./task.toml --backends "
        "llama-ft,production --incumbent production"
    )
