"""`bench power` as data: what rows resolve, and how many rows a margin or a difference needs."""

from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.gating.formatting import points
from harness.gating.gate_settings import DEFAULT_FORMAT_MARGIN
from harness.gating.pairing import run_summary
from harness.metrics import Metric
from harness.records import Record
from harness.results import Summary
from harness.runs.run_log import RunLog
from harness.statistics.power_analysis import rows_to_pass, rows_to_see, smallest_difference, smallest_margin
from harness.statistics.rows_needed import least_rows_to_pass, rows_to_decide

USUAL_DISCORDANCE = 0.05


class RowsForTarget(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Rows needed at one size: to pass it as a margin (None: never, the loss reaches it), to see it as a difference.

    to_pass is at least what a rate needs when no row differs (`least_rows_to_pass`). to_decide: rows after which the
    gate would probably pass or fail at the given loss, and decision: which of both.
    """

    size: float
    to_pass: int | None
    to_see: int
    to_decide: int | None = None
    decision: Literal["pass", "fail"] | None = None


class DetectableAt(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What present rows resolve: the smallest margin they pass, the smallest difference they see (proportions)."""

    name: str
    rows: int
    discordance: float
    margin: float
    difference: float | None


class PowerReport(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Everything at a given power; passing at 5 % one-sided, seeing at 5 % two-sided.

    default_gate_rows: the fewest rows that pass the default gate, when nobody makes a format error.
    """

    power: float
    discordance: float
    basis: str
    loss: float
    needs: tuple[RowsForTarget, ...]
    resolved: tuple[DetectableAt, ...]
    default_gate_rows: int = least_rows_to_pass(DEFAULT_FORMAT_MARGIN)


def power_report(
    log: RunLog | None,
    rows: int | None,
    discordance: float | None,
    margins: tuple[float, ...],
    loss: float,
    power: float,
) -> PowerReport:
    """Plan from a run's own discordances, from a given one, or from the usual 5 %.

    Raises UsageError where the run's headline is not right/wrong, IncompleteRunError where it has not ended.
    """
    pairs: list[tuple[str, int, float]] = []
    named = False
    if log is not None:
        summary = run_summary(log)
        pairs, named = _pairs_of(log, summary), summary.verdict is not None
        rows = log.manifest.rows if rows is None and not pairs else rows
    share, basis = discordance, "as given"
    if share is None and pairs:
        name, _, share = pairs[0] if named else max(pairs, key=lambda pair: pair[2])
        basis = f"of {name}, the pair of the run's verdict" if named else f"of {name}, the largest of the run"
    if not share:
        share, basis = USUAL_DISCORDANCE, "assumed"
    if rows is not None:
        pairs = [(f"{rows:,} row{'' if rows == 1 else 's'}", rows, share)]
    return PowerReport(
        power=power,
        discordance=share,
        basis=basis,
        loss=loss,
        needs=tuple(_need(m, share, loss, power) for m in margins),
        resolved=tuple(
            DetectableAt(
                name=name,
                rows=n,
                discordance=d,
                margin=smallest_margin(n, d or share, power=power),
                difference=smallest_difference(n, d, power=power),
            )
            for name, n, d in pairs
        ),
    )


def _need(margin: float, share: float, loss: float, power: float) -> RowsForTarget:
    to_pass = rows_to_pass(margin, share, loss, power=power)
    decided = rows_to_decide(margin, -loss, max(0.0, share - loss**2), proportion=True, power=power)
    return RowsForTarget(
        size=margin,
        to_pass=None if to_pass is None else max(to_pass, least_rows_to_pass(margin)),
        to_see=rows_to_see(margin, share, power=power),
        to_decide=None if decided is None else decided.rows,
        decision=None if decided is None else decided.verdict,
    )


def _pairs_of(log: RunLog, summary: Summary) -> list[tuple[str, int, float]]:
    """Name, rows and discordance of each pair, that of the verdict first."""
    metric = next((m for m in summary.metrics if m.name == summary.headline), Metric(name=summary.headline))
    if not metric.proportion or metric.kind != "mean":
        raise UsageError(f"{log.path}: {metric.name} is not right or wrong row by row; use --discordance and --rows.")
    asked = set() if summary.verdict is None else {summary.verdict.candidate, summary.verdict.incumbent}
    pairs = [p for p in summary.pairs if p.metric == summary.headline and p.only_a is not None and p.only_b is not None]
    return [
        (f"{p.a} and {p.b}", p.rows, ((p.only_a or 0) + (p.only_b or 0)) / p.rows)
        for p in sorted(pairs, key=lambda p: {p.a, p.b} != asked)
    ]


def show_power_report(found: PowerReport, console: Console) -> None:
    """The plan as two small tables."""
    if found.resolved:
        table = Table(title="What the present rows can detect", title_justify="left", show_edge=False, pad_edge=False)
        for title in ("pair", "rows", "one right only", "smallest margin passed", "smallest difference seen"):
            table.add_column(title, justify="left" if title == "pair" else "right")
        for r in found.resolved:
            seen = "-" if r.difference is None else _points(r.difference)
            table.add_row(Text(r.name), f"{r.rows:,}", f"{100 * r.discordance:.1f} %", _points(r.margin), seen)
        console.print(table)
        console.print()
    table = Table(title="Rows needed", title_justify="left", show_edge=False, pad_edge=False)
    losing = found.loss > 0
    titles = ("size", "to pass it as a margin", *(("to decide at this loss",) if losing else ()))
    for title in (*titles, "to see it as a difference"):
        table.add_column(title, justify="right")
    for need in found.needs:
        to_pass = "never" if need.to_pass is None else f"{need.to_pass:,}"
        decided = () if not losing else (_decided(need),)
        table.add_row(_points(need.size), to_pass, *decided, f"{need.to_see:,}")
    console.print(table)
    loss = f", a true loss of {_points(found.loss)}" if found.loss else ", no true difference when passing"
    console.print(
        f"{100 * found.power:.0f} % power; exactly one right on {100 * found.discordance:.1f} % of rows "
        f"({found.basis}){loss}.",
        markup=False,
        highlight=False,
    )
    console.print(
        f"The default gate cannot pass with fewer than {found.default_gate_rows:,} rows: it takes so many without any "
        f"difference to show that format errors hold within {points(DEFAULT_FORMAT_MARGIN)}.",
        markup=False,
        highlight=False,
    )


def _decided(need: RowsForTarget) -> str:
    return "never" if need.to_decide is None else f"{need.to_decide:,} ({need.decision})"


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"
