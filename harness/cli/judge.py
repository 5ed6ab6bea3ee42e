"""`bench judge`: one backend compares the answers of the others, pair by pair, in both orders."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import config_option, json_option, limit_option, quiet_option
from harness.cli.output import print_json
from harness.cli.shell_completion import backends, runs
from harness.errors import ExitCode
from harness.text_format import count_noun, split_names

if TYPE_CHECKING:
    from harness.judging.pairwise_preference import PairVerdict, Verdicts
    from harness.metrics import Estimate
    from harness.results import CostResult


@click.command()
@click.argument("run", shell_complete=runs)
@click.option(
    "--judge",
    metavar="BACKEND",
    shell_complete=backends,
    required=True,
    help="Backend that judges: from bench.toml or built in.",
)
@click.option("--between", metavar="A,B", help="Backends to compare; 'reference' is the data's own answer.")
@limit_option
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0), help="Stop before judging costs more.")
@config_option
@json_option
@quiet_option
def judge(
    run: str,
    judge: str,
    between: str | None,
    limit: int | None,
    max_cost: float | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Judge the answers of RUN (a path, a short id, or `last`).

    \b
    bench judge last --judge gpt4
    bench judge RUN --judge gpt4 --between adapter-all,adapter-best --limit 200
    """
    from rich.console import Console

    from harness.cli.run_display import observed
    from harness.judging.judge_run import judge_run
    from harness.runs.run_log import RunLog
    from harness.settings import load_settings
    from harness.workspace import Workspace

    workspace = Workspace.current()
    log = RunLog.open(workspace.find_run(run))
    with observed(Console(stderr=True), quiet=quiet) as observer:
        verdicts = judge_run(
            log,
            judge,
            load_settings(config),
            between=tuple(split_names(between, "--between")) if between else (),
            limit=limit,
            max_cost=max_cost,
            workspace=workspace,
            observer=observer,
        )
    if as_json:
        print_json(verdicts)
    else:
        for sentence in sentences(verdicts):
            click.echo(sentence)
    return int(ExitCode.DONE if verdicts.answered == verdicts.asked else ExitCode.INCOMPLETE)


def _after_holm(pair: "PairVerdict") -> str:
    if pair.p_holm is None or pair.p_holm == pair.p:
        return f"{pair.p:.3g}"
    return f"{pair.p_holm:.3g} after Holm over all pairs"


def _why_not(pair: "PairVerdict") -> str:
    return f" ({pair.no_verdict})" if pair.no_verdict else ""


def sentences(verdicts: "Verdicts") -> list[str]:
    """The verdicts as text."""
    lines = []
    for pair in verdicts.pairs:
        lines.append(
            f"{pair.a} against {pair.b}, {count_noun(pair.judged, 'row')}: "
            f"{pair.a} wins {pair.wins_a}, {pair.b} wins {pair.wins_b}, "
            f"{pair.ties} ties; difference {_figure(pair.difference)}"
            + (f", p = {_after_holm(pair)} ({pair.p_method})" if pair.p is not None else "")
            + f": {pair.verdict}{_why_not(pair)}."
        )
        if pair.unjudged:
            lines.append(f"  {count_noun(pair.unjudged, 'row')} without a valid verdict in both orders.")
        lines.append(f"  the longer answer won {_figure(pair.longer)} of the decided rows.")
    lines.append(
        f"{verdicts.judge} ({verdicts.model}): the same verdict in both orders {_figure(verdicts.consistent)}, for the "
        f"answer shown first {_figure(verdicts.first_wins)}; {_cost(verdicts.cost)}."
    )
    if verdicts.with_people.value is not None:
        lines.append(f"agrees with people's votes: {_figure(verdicts.with_people)} (n = {verdicts.with_people.n}).")
    if verdicts.format_errors:
        kinds = ", ".join(f"{kind} {count}" for kind, count in verdicts.format_errors.items())
        lines.append(f"invalid verdicts: {kinds}.")
    if verdicts.answered < verdicts.asked:
        lines.append(f"{verdicts.asked - verdicts.answered} of {verdicts.asked} verdicts are missing: judge again.")
    return lines


def _figure(estimate: "Estimate") -> str:
    if estimate.value is None:
        return "n/a"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1%}"
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"


def _cost(cost: "CostResult") -> str:
    price = "unknown" if cost.list is None else f"${cost.list:.4f}"
    return f"its own cost {price}, paid here ${cost.incurred or 0:.4f}"
