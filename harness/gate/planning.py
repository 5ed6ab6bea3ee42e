"""`bench power` as data: what rows resolve, and how many rows a margin or a difference needs."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.metrics import Metric
from harness.records import Record
from harness.results import Summary
from harness.runlog import RunLog
from harness.statistics.power import detectable_difference, resolvable_margin, rows_for_difference, rows_for_margin

from .side import run_summary

USUAL_DISCORDANCE = 0.05


class Need(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Rows needed at one size: to pass it as a margin (None: never, the loss reaches it), to see it as a difference."""

    size: float
    to_pass: int | None
    to_see: int


class Resolved(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What present rows resolve: the smallest margin they pass, the smallest difference they see (proportions)."""

    name: str
    rows: int
    discordance: float
    margin: float
    difference: float | None


class Plan(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Everything at a given power; passing at 5 % one-sided, seeing at 5 % two-sided."""

    power: float
    discordance: float
    basis: str
    loss: float
    needs: tuple[Need, ...]
    resolved: tuple[Resolved, ...]


def plan(
    log: RunLog | None,
    rows: int | None,
    discordance: float | None,
    margins: tuple[float, ...],
    loss: float,
    power: float,
) -> Plan:
    """Plan from a run's own discordances, from a given one, or from the usual 5 %.

    Raises UsageError where the run's headline is not right/wrong, IncompleteRunError where it has not ended.
    """
    pairs: list[tuple[str, int, float]] = []
    if log is not None:
        pairs = _pairs_of(log, run_summary(log))
        rows = log.manifest.rows if rows is None and not pairs else rows
    share, basis = discordance, "as given"
    if share is None and pairs:
        name, _, share = max(pairs, key=lambda pair: pair[2])
        basis = f"of {name}, the largest of the run"
    if not share:
        share, basis = USUAL_DISCORDANCE, "assumed"
    if rows is not None:
        pairs = [(f"{rows} rows", rows, share)]
    return Plan(
        power=power,
        discordance=share,
        basis=basis,
        loss=loss,
        needs=tuple(
            Need(
                size=m,
                to_pass=rows_for_margin(m, share, loss, power=power),
                to_see=rows_for_difference(m, share, power=power),
            )
            for m in margins
        ),
        resolved=tuple(
            Resolved(
                name=name,
                rows=n,
                discordance=d,
                margin=resolvable_margin(n, d or share, power=power),
                difference=detectable_difference(n, d or share, power=power),
            )
            for name, n, d in pairs
        ),
    )


def _pairs_of(log: RunLog, summary: Summary) -> list[tuple[str, int, float]]:
    metric = next((m for m in summary.metrics if m.name == summary.headline), Metric(name=summary.headline))
    if not metric.proportion or metric.kind != "mean":
        raise UsageError(f"{log.path}: {metric.name} is not right or wrong row by row; say --discordance and --rows.")
    return [
        (f"{p.a} and {p.b}", p.rows, (p.only_a + p.only_b) / p.rows)
        for p in summary.pairs
        if p.metric == summary.headline and p.only_a is not None and p.only_b is not None
    ]


def show_plan(found: Plan, console: Console) -> None:
    """The plan as two small tables."""
    if found.resolved:
        table = Table(title="What the present rows resolve", title_justify="left", show_edge=False, pad_edge=False)
        for title in ("pair", "rows", "one right only", "smallest margin passed", "smallest difference seen"):
            table.add_column(title, justify="left" if title == "pair" else "right")
        for r in found.resolved:
            seen = "-" if r.difference is None else _points(r.difference)
            table.add_row(Text(r.name), f"{r.rows:,}", f"{100 * r.discordance:.1f} %", _points(r.margin), seen)
        console.print(table)
        console.print()
    table = Table(title="Rows needed", title_justify="left", show_edge=False, pad_edge=False)
    for title in ("size", "to pass it as a margin", "to see it as a difference"):
        table.add_column(title, justify="right")
    for need in found.needs:
        to_pass = "never" if need.to_pass is None else f"{need.to_pass:,}"
        table.add_row(_points(need.size), to_pass, f"{need.to_see:,}")
    console.print(table)
    loss = f", a true loss of {_points(found.loss)}" if found.loss else ", no true difference when passing"
    console.print(
        f"{100 * found.power:.0f} % power; exactly one right on {100 * found.discordance:.1f} % of rows "
        f"({found.basis}){loss}.",
        markup=False,
        highlight=False,
    )


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"
