"""`bench cascade RUN`: the small model where it is sure, the large one elsewhere, with a certified threshold."""

import sys
from pathlib import Path

import click

from harness.cli.options import PageFile, json_option, quiet_option
from harness.cli.shell_completion import runs
from harness.errors import UsageError
from harness.text_format import listing, split_names

SOURCES = ("label scores", "mean log-probability", "least log-probability", "task", "agreement")


@click.command()
@click.argument("run", metavar="RUN", shell_complete=runs)
@click.option("--small", metavar="NAME", help="The backend that is asked first.")
@click.option("--large", metavar="NAME", help="The backend that is asked where the small one is not sure enough.")
@click.option("--stages", metavar="A,B,C", help="Two or more backends in the order in which they are asked.")
@click.option(
    "--max-loss",
    metavar="POINTS",
    type=click.FloatRange(min=0, min_open=True),
    help="Most that may be lost to the large model, in points (default: the margin of the run's verdict).",
)
@click.option(
    "--max-cost-per-1000",
    metavar="USD",
    type=click.FloatRange(min=0, min_open=True),
    help="Instead: the most that 1,000 answers may cost.",
)
@click.option("--volume", metavar="N", type=click.IntRange(min=1), help="Requests a month, for the savings.")
@click.option(
    "--confidence",
    metavar="SOURCE",
    type=click.Choice(SOURCES),
    help=f"Source of the confidence: {listing([*SOURCES])} (default: the first known).",
)
@click.option("--price", metavar="NAME=USD", multiple=True, help="Price of 1,000 answers of a stage; repeatable.")
@click.option(
    "--person-accuracy",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    help="Rows that no stage keeps go to people who are right so often.",
)
@click.option("--person-price", metavar="USD", type=click.FloatRange(min=0), help="Price of one answer of a person.")
@click.option(
    "--out",
    metavar="FILE",
    type=PageFile(".svg", ".png"),
    help="Also write a page (.html) or the chart (.svg, .png).",
)
@json_option
@quiet_option
def cascade(
    run: str,
    small: str | None,
    large: str | None,
    stages: str | None,
    max_loss: float | None,
    max_cost_per_1000: float | None,
    volume: int | None,
    confidence: str | None,
    price: tuple[str, ...],
    person_accuracy: float | None,
    person_price: float | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Combine backends of RUN: a small one where it is sure, a large one elsewhere, with a certified threshold.

    It asks nothing: the answers are in the run. The result is kept in cascade.json of the run directory.

    \b
    bench cascade last --small llama-ft --large gpt4 --max-loss 1 --volume 1000000
    bench cascade last --stages tfidf,llama-ft,gpt4 --max-cost-per-1000 0.40
    """
    import msgspec
    from rich.console import Console

    from harness.reports import exports
    from harness.runs.run_log import RunLog
    from harness.summary.cascade_of_run import cascade_of_run, cascade_terms
    from harness.workspace import Workspace

    names = _stages(small, large, stages, person_accuracy is not None)
    log = RunLog.open(Workspace.current().find_run(run))
    summary = exports.summary_of(log)
    terms = cascade_terms(
        summary,
        names,
        max_loss=max_loss,
        max_cost_per_1000=max_cost_per_1000,
        volume=volume,
        confidence=confidence,  # type: ignore[arg-type]  # click's choices are these texts
        prices=dict(_price(text) for text in price),
        person_accuracy=person_accuracy,
        person_price=person_price,
    )
    question, result = cascade_of_run(log, summary, terms)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    people = Console(stderr=as_json, quiet=as_json and quiet)
    from harness.reports import cascade_page

    cascade_page.print_cascade(result, question.metric, people)
    if out is not None:
        cascade_page.write_cascade(log, question, result, out)
        if not quiet:
            people.print(str(out), markup=False, highlight=False, soft_wrap=True)
    return 0


def _stages(small: str | None, large: str | None, stages: str | None, person: bool) -> list[str]:
    if stages is not None:
        if small or large:
            raise UsageError("--stages names all stages: leave out --small and --large.")
        return split_names(stages, "--stages")
    if small is None or (large is None and not person):
        raise UsageError("name the stages: --small NAME --large NAME, or --stages A,B,C.")
    return [small, *([large] if large else [])]


def _price(text: str) -> tuple[str, float]:
    name, equals, usd = text.partition("=")
    try:
        value = float(usd)
    except ValueError:
        value = -1.0
    if not equals or not name or not 0 <= value < float("inf"):
        raise UsageError(f"--price {text}: write NAME=USD, the price of 1,000 answers, as gpt4=2.30.")
    return name, value
