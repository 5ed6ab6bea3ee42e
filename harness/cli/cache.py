"""`bench cache stats|clear`: manage cached answers."""

from typing import TYPE_CHECKING

import click

from harness.cli.options import json_option, quiet_anyway
from harness.cli.output import print_json

if TYPE_CHECKING:
    from harness.backends.answer_cache import AnswerCache


@click.group()
def cache() -> None:
    """Manage the answer cache: paid answers are stored and reused."""


@cache.command()
@json_option
@quiet_anyway
def stats(as_json: bool) -> None:
    """Show cached answers by model."""

    kept = _open()
    found = kept.stats()
    kept.close()
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.path}: {found.answers:,} answers, {found.bytes / 1e6:.1f} MB, since {found.oldest or '-'}")
    for model, count in found.by_model.items():
        click.echo(f"  {count:>9,}  {model}")


@cache.command()
@click.option("--model", metavar="MODEL", help="Only this model's answers.")
@json_option
@quiet_anyway
def clear(model: str | None, as_json: bool) -> None:
    """Delete all cached answers, or one model's. They would have to be paid for again."""
    import msgspec

    kept = _open()
    gone = kept.clear(model)
    kept.close()
    if as_json:
        click.echo(msgspec.json.encode({"forgotten": gone}))
    else:
        click.echo(f"forgot {gone:,} answers{f' of {model}' if model else ''}.")


def _open() -> "AnswerCache":
    from harness.backends.answer_cache import AnswerCache
    from harness.workspace import Workspace

    return AnswerCache(Workspace.current().cache)
