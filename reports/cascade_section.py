"""A cascade as a table and as a chart: what each threshold keeps, costs and gives."""

from harness.confidence_results import CascadePoint, CascadeResult
from harness.metrics import Metric, title
from harness.reports.cascade_sentence import confidence_text, share_text
from harness.reports.leaderboard_rows import money_cell
from harness.reports.plot import MUTED, SERIES, Curve, Panel, Plot, Words, label
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.text_format import NOT_APPLICABLE, is_share, listing, money, number, seconds, unit
from harness.text_sanitize import visible_line

SHOWN = 11
"""Points of the table."""


def cascade_grid(result: CascadeResult, metric: Metric) -> Grid:
    """The stages asked alone, the certified cascade, and points of the curve."""
    names = [visible_line(stage.name) for stage in result.stages]
    columns = (
        TableColumn(title="cascade", numeric=False),
        *(TableColumn(title=f"{n} from", hint="answers of this confidence or more are kept") for n in names[:-1]),
        *(TableColumn(title=f"by {n}", hint="share of the answers that this stage gives") for n in names),
        TableColumn(title=f"{title(metric.name)} {unit(metric)}".rstrip()),
        TableColumn(title="$ per 1,000", hint="list price of 1,000 answers, all stages that are asked summed"),
        TableColumn(title="latency", hint="mean, one request at a time, all stages that are asked summed"),
    )
    alone = [
        (
            TableCell(text=f"{visible_line(stage.name)} alone"),
            *(TableCell(text="-") for _ in names[:-1]),
            *(TableCell(text=share_text(float(k == i))) for i in range(len(names))),
            TableCell(text=NOT_APPLICABLE if stage.value.value is None else number(stage.value.value, metric)),
            money_cell(stage.cost_per_1000),
            TableCell(text=seconds(stage.latency_s)),
        )
        for k, stage in enumerate(result.stages)
    ]
    rows = [*alone]
    if result.chosen is not None:
        rows.append(_row("certified", result.chosen, metric))
    rows += [_row("", point, metric) for point in _thinned(result.points)]
    return Grid(caption=f"Cascade of {listing(names)}", columns=columns, rows=tuple(rows))


def _thinned(points: tuple[CascadePoint, ...]) -> list[CascadePoint]:
    if len(points) <= SHOWN:
        return list(points)
    return [points[round(k * (len(points) - 1) / (SHOWN - 1))] for k in range(SHOWN)]


def _row(name: str, point: CascadePoint, metric: Metric) -> tuple[TableCell, ...]:
    return (
        TableCell(text=name, tone="good" if name else ""),
        *(TableCell(text=confidence_text(t)) for t in point.thresholds),
        *(TableCell(text=share_text(s)) for s in point.shares),
        TableCell(text=number(point.value, metric), sort=point.value),
        money_cell(point.cost_per_1000),
        TableCell(text=seconds(point.latency_s)),
    )


def cascade_chart(result: CascadeResult, metric: Metric) -> Chart:
    """Quality against cost, or where a price is unknown against the share that the last stage answers."""
    priced = all(point.cost_per_1000 is not None for point in result.points)
    scale = 100 if is_share(metric) else 1
    names = [visible_line(stage.name) for stage in result.stages]
    axis = "list price of 1,000 answers, USD" if priced else f"share of the answers by {names[-1]}, %"

    def effort(point: CascadePoint) -> float:
        return point.cost_per_1000 if priced and point.cost_per_1000 is not None else 100 * point.shares[-1]

    plot, panel = Plot.single(7.0, 3.8)
    xs = [effort(point) for point in result.points]
    panel.add(Curve(xs, [scale * point.value for point in result.points], SERIES[0], 1.8))
    if result.chosen is not None:
        x, y = effort(result.chosen), scale * result.chosen.value
        panel.add(Curve([x], [y], SERIES[1], width=0, marker="o", size=8), Words("certified", x, y, shift=(8, -12)))
    _alone(panel, result, scale, priced)
    panel.x.label, panel.y.label = axis, f"{title(metric.name)} {unit(metric)}".rstrip()
    panel.x.margin, panel.y.margin = 0.12, 0.15
    if priced:
        panel.x.scale(xs, money)
    point = "The dot is the certified operating point, on the rows that certified it; " if result.chosen else ""
    return Chart(
        name="cascade",
        title=f"Cascade of {listing(names)}",
        caption=f"{point}the line is the cascade at every threshold, on all rows; diamonds are the stages alone.",
        grid=cascade_grid(result, metric),
        plot=plot,
    )


def _alone(panel: Panel, result: CascadeResult, scale: int, priced: bool) -> None:
    """The stages asked alone, where their place on the axis is known."""
    last = len(result.stages) - 1
    for k, stage in enumerate(result.stages):
        x = stage.cost_per_1000 if priced else 100.0 * (k == last)
        if x is None or stage.value.value is None or (not priced and 0 < k < last):
            continue
        y = scale * stage.value.value
        panel.add(Curve([x], [y], MUTED, width=0, marker="D"), Words(label(stage.name), x, y, shift=(8, 6)))
