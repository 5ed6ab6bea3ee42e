"""How the headline metric of each backend moved from run to run, as a chart."""

from collections.abc import Sequence

from harness.metrics import Estimate, Metric, title
from harness.reports.leaderboard_rows import figure as figure_cell
from harness.reports.leaderboard_rows import heading
from harness.reports.plot import DOTTED, Curve, Legend, Look, Panel, Plot, Rule, label, looks
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.results import Summary
from harness.runs.run_log import Manifest
from harness.summary.stored_verdict import headline_metric
from harness.text_format import is_share, moment
from harness.text_sanitize import visible_line

MOST_NAMES = 6
"""Dates below the axis; more would run into each other."""

Point = tuple[int, Estimate]


def trend(task: str, runs: Sequence[tuple[Manifest, Summary]]) -> Chart | None:
    """One curve per backend over the runs of a task, oldest first; None for fewer than two runs.

    A curve is joined only between runs that asked the same rows in the same words.
    """
    mine = [(m, s) for m, s in runs if s.task == task]
    if len(mine) < 2:
        return None
    metric = headline_metric(mine[-1][1])
    names = list(dict.fromkeys(n for _, s in mine for n in s.backends))
    breaks = [i for i in range(1, len(mine)) if _key(mine[i][0]) != _key(mine[i - 1][0])]
    seen = looks(names)
    plot, panel = Plot.single(10.5, 3.8)
    for name in names:
        _curve(panel, _points(mine, name, metric), breaks, metric, seen[name], label(name))
    panel.add(*(Rule(i - 0.5, dash=DOTTED) for i in breaks))
    step = -(-len(mine) // MOST_NAMES)
    panel.x.ticks = range(0, len(mine), step)
    panel.x.names = [moment(mine[i][1].created) or label(mine[i][1].run, 12) for i in panel.x.ticks]
    panel.x.low, panel.x.high, panel.x.grid = -0.5, len(mine) - 0.5, False
    panel.y.label = heading(metric).title
    panel.legend = Legend("below", columns=4)
    note = " A dotted line marks where rows or prompts changed: across it figures cannot be compared." if breaks else ""
    columns = (TableColumn(title="run", numeric=False), *(TableColumn(title=visible_line(n)) for n in names))
    rows = tuple(
        (
            TableCell(text=visible_line(f"{moment(s.created)} {s.run}".strip())),
            *(figure_cell(s.backends[n].metrics if n in s.backends else {}, metric) for n in names),
        )
        for _, s in mine
    )
    return Chart(
        name="trend-" + "".join(c if c.isalnum() else "-" for c in task),
        title=f"{visible_line(task)}: {title(metric.name)} over time",
        caption=f"{heading(metric).title} of each run with its 95 % interval, oldest on the left.{note}",
        grid=Grid(caption=f"{visible_line(task)}: {heading(metric).title} by run", columns=columns, rows=rows),
        plot=plot,
    )


def _key(manifest: Manifest) -> tuple[str, str]:
    """What must be equal for two runs to be comparable: the requests and the parser."""
    return manifest.request_hash, manifest.parser


def _points(runs: Sequence[tuple[Manifest, Summary]], name: str, metric: Metric) -> list[Point]:
    found = []
    for i, (_, summary) in enumerate(runs):
        result = summary.backends.get(name)
        figure = None if result is None else result.metrics.get(metric.name)
        if figure is not None and figure.value is not None:
            found.append((i, figure))
    return found


def _curve(panel: Panel, points: list[Point], breaks: list[int], metric: Metric, look: Look, name: str) -> None:
    scale = 100 if is_share(metric) else 1
    for i, e in points:
        if e.low is not None and e.high is not None:
            panel.add(Curve([i, i], [scale * e.low, scale * e.high], look.colour, 1.2, opacity=0.7))
    for start, end in zip([0, *breaks], [*breaks, 10**9], strict=True):
        part = [(i, scale * (e.value or 0.0)) for i, e in points if start <= i < end]
        xs, ys = [i for i, _ in part], [v for _, v in part]
        panel.add(Curve(xs, ys, look.colour, dash=look.dash, marker=look.marker, size=5))
    panel.add(Curve([], [], look.colour, dash=look.dash, marker=look.marker, size=5, named=name))
