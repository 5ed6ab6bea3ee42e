"""What confidences are worth, for the report: reliability, accuracy against the share kept, and the figures behind."""

from collections.abc import Mapping

from harness.confidence_results import CalibrationResult
from harness.metrics import Estimate
from harness.reports.plot import DOTTED, MUTED, Band, Curve, Legend, Look, Plot, label, looks
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.results import Summary
from harness.summary.stored_verdict import by_rank
from harness.text_format import NOT_APPLICABLE, count
from harness.text_sanitize import visible_line

KEPT_AT = (0.9, 0.95, 0.99)
"""Accuracies of which the table says what may be kept."""
KEPT_HINT = "the share whose accuracy is at least this, by a band that holds at all shares together"


def calibrations(summary: Summary) -> dict[str, CalibrationResult]:
    """Backends that give a confidence, best first."""
    found = ((name, summary.backends[name].calibration) for name in by_rank(summary))
    return {name: calibration for name, calibration in found if calibration is not None}


def calibration_grid(found: Mapping[str, CalibrationResult]) -> Grid:
    """One line a backend: calibration error, Brier score, log-likelihood, AURC, and what may be kept."""
    columns = (
        TableColumn(title="backend", numeric=False),
        TableColumn(title="confidence", numeric=False, hint="where it is known from"),
        TableColumn(title="temperature", hint="fitted on validation rows; 1 is none"),
        TableColumn(title="rows"),
        TableColumn(title="calibration error", hint="root mean square, debiased, with its 95 % interval"),
        TableColumn(title="Brier score"),
        TableColumn(title="log loss"),
        TableColumn(title="AURC", hint="mean error rate over all shares kept; beside it that of all rows"),
        *(TableColumn(title=f"kept at {a:.0%}", hint=KEPT_HINT) for a in KEPT_AT),
    )
    return Grid(caption="Confidence", columns=columns, rows=tuple(_row(name, one) for name, one in found.items()))


def _row(name: str, found: CalibrationResult) -> tuple[TableCell, ...]:
    return (
        TableCell(text=visible_line(name)),
        TableCell(text=found.source),
        TableCell(text="1" if found.temperature is None else f"{found.temperature:.2f}"),
        TableCell(text=count(found.rows)),
        *(_cell(figure) for figure in (found.error, found.brier, found.log_loss)),
        TableCell(
            text=NOT_APPLICABLE if found.aurc is None else f"{found.aurc:.4f}",
            note="" if found.error_rate is None else f"of {found.error_rate:.4f}",
        ),
        *(_kept(found, accuracy) for accuracy in KEPT_AT),
    )


def _cell(figure: Estimate) -> TableCell:
    if figure.value is None:
        return TableCell(text=NOT_APPLICABLE, note=figure.method.removeprefix("n/a: "))
    span = "" if figure.low is None or figure.high is None else f"[{figure.low:.3f}, {figure.high:.3f}]"
    return TableCell(text=f"{figure.value:.3f}", note=span, sort=figure.value)


def _kept(found: CalibrationResult, accuracy: float) -> TableCell:
    """The share that is shown to reach an accuracy; below it the share that was seen to."""
    shown = [point.share for point in found.coverage if point.low >= accuracy]
    seen = [point.share for point in found.coverage if point.accuracy >= accuracy]
    return TableCell(
        text=f"{max(shown):.1%}" if shown else "none shown",
        note=f"seen {max(seen):.1%}" if seen else "",
        sort=max(shown, default=0.0),
    )


def calibration_charts(summary: Summary) -> list[Chart]:
    """The reliability diagram and the curves of accuracy against the share kept; none without a confidence."""
    found = calibrations(summary)
    seen = looks(list(summary.backends))
    grid = calibration_grid(found)
    drawn = []
    binned = {name: one for name, one in found.items() if one.bins}
    if binned:
        drawn.append(_reliability(binned, seen, grid))
    curved = {name: one for name, one in found.items() if one.coverage}
    if curved:
        drawn.append(_coverage(curved, seen, grid))
    return drawn


def _reliability(found: Mapping[str, CalibrationResult], seen: Mapping[str, Look], grid: Grid) -> Chart:
    plot, panel = Plot.single(5.4, 3.5)
    panel.add(Curve([0, 100], [0, 100], MUTED, 1, DOTTED))
    for name, one in found.items():
        xs, ys = [100 * b.confidence for b in one.bins], [100 * b.accuracy for b in one.bins]
        look = seen[name]
        panel.add(Curve(xs, ys, look.colour, dash=look.dash, marker=look.marker, size=4, named=label(name)))
    panel.x.label, panel.y.label = "mean confidence, %", "right, %"
    panel.legend = Legend("upper left")
    return Chart(
        name="reliability",
        title="Reliability",
        caption="Rows in bins of equally many, by confidence; on the dotted line the confidence is the share right.",
        grid=grid,
        plot=plot,
    )


def _coverage(found: Mapping[str, CalibrationResult], seen: Mapping[str, Look], grid: Grid) -> Chart:
    plot, panel = Plot.single(5.4, 3.5)
    for name, one in found.items():
        look, xs = seen[name], [100 * p.share for p in one.coverage]
        lows, highs = [100 * p.low for p in one.coverage], [100 * p.high for p in one.coverage]
        panel.add(Band(xs, lows, highs, look.colour, opacity=0.12))
        ys = [100 * p.accuracy for p in one.coverage]
        panel.add(Curve(xs, ys, look.colour, dash=look.dash, named=label(name)))
    panel.x.label, panel.y.label = "share kept, the most confident first, %", "right, of those kept, %"
    panel.legend = Legend("lower left")
    return Chart(
        name="coverage",
        title="Accuracy against the share kept",
        caption="The band holds at all shares together (95 %): what it says of a share may be chosen by looking at it.",
        grid=grid,
        plot=plot,
    )


def calibration_cautions(found: Mapping[str, CalibrationResult]) -> list[str]:
    """What limits the figures, by backend."""
    said = [f"{visible_line(name)}: {one.caution}" for name, one in found.items() if one.caution]
    return said + [
        f"{visible_line(name)}: {count(one.without)} answers carry no confidence; they count as the least confident."
        for name, one in found.items()
        if one.without
    ]
