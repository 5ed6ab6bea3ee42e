"""A cascade as a table and as a chart: what each threshold keeps, costs and gives."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.confidence_results import CascadePoint, CascadeResult
from harness.metrics import Metric, title
from harness.reports.cascade_sentence import confidence_text, share_text
from harness.reports.leaderboard_rows import money_cell
from harness.reports.svg_charts import INK, MUTED, SERIES, Chart, draw, label, scale_axis
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

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        xs = [effort(point) for point in result.points]
        ax.plot(xs, [scale * point.value for point in result.points], color=SERIES[0], lw=1.8)
        if result.chosen is not None:
            ax.plot([effort(result.chosen)], [scale * result.chosen.value], "o", color=SERIES[1], ms=8)
            ax.annotate("certified", (effort(result.chosen), scale * result.chosen.value), (8, -12),
                        textcoords="offset points", color=INK)  # fmt: skip
        _alone(ax, result, scale, priced)
        ax.set_xlabel(axis)
        ax.set_ylabel(f"{title(metric.name)} {unit(metric)}".rstrip())
        ax.margins(x=0.12, y=0.15)
        if priced:
            scale_axis(ax.xaxis, [x for x in xs if x > 0] if min(xs, default=0) > 0 else xs, money)
        ax.tick_params(length=0, which="both")

    point = "The dot is the certified operating point, on the rows that certified it; " if result.chosen else ""
    return Chart(
        name="cascade",
        title=f"Cascade of {listing(names)}",
        caption=f"{point}the line is the cascade at every threshold, on all rows; diamonds are the stages alone.",
        grid=cascade_grid(result, metric),
        figure=draw((7.0, 3.8), paint),
    )


def _alone(ax: Axes, result: CascadeResult, scale: int, priced: bool) -> None:
    """The stages asked alone, where their place on the axis is known."""
    last = len(result.stages) - 1
    for k, stage in enumerate(result.stages):
        x = stage.cost_per_1000 if priced else 100.0 * (k == last)
        if x is None or stage.value.value is None or (not priced and 0 < k < last):
            continue
        ax.plot([x], [scale * stage.value.value], "D", color=MUTED, ms=6)
        ax.annotate(label(stage.name), (x, scale * stage.value.value), (8, 6), textcoords="offset points", color=INK)
