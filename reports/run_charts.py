"""Charts of a run: metric intervals, latency distribution, format errors and confusion matrices."""

from collections.abc import Mapping, Sequence

from harness.metrics import Estimate, Metric
from harness.reports.leaderboard_rows import figure as figure_cell
from harness.reports.leaderboard_rows import heading, main_metrics
from harness.reports.plot import (
    MUTED,
    SERIES,
    SMALL,
    Axis,
    Bars,
    Curve,
    Legend,
    Look,
    Panel,
    Plot,
    Shades,
    Words,
    label,
    looks,
)
from harness.reports.svg_charts import Chart
from harness.reports.table_model import MOST_COLUMNS, Grid, TableCell, TableColumn
from harness.results import Summary
from harness.runs.run_log import RunLog
from harness.summary.stored_verdict import by_rank
from harness.text_format import count, is_share, listing, seconds
from harness.text_sanitize import visible_line


def intervals(summary: Summary) -> Chart:
    """Every main metric of every backend with its interval."""
    names = by_rank(summary)
    metrics = main_metrics(summary)
    seen = looks(list(summary.backends))
    panels = []
    for metric in metrics:
        panel = Panel(title=heading(metric).title, y=Axis(grid=False))
        panel.y.list_names([label(n) for n in names])
        for y, name in enumerate(names):
            _whisker(panel, summary.backends[name].metrics.get(metric.name), metric, y, seen[name])
        panels.append(panel)
    rows = tuple(
        (TableCell(text=visible_line(n)), *(figure_cell(summary.backends[n].metrics, m) for m in metrics))
        for n in names
    )
    columns = (TableColumn(title="backend", numeric=False), *map(heading, metrics))
    return Chart(
        name="intervals",
        title="Quality with 95 % intervals",
        caption="Each point is a measured value, its line the 95 % interval; intervals that overlap may still differ, "
        "the paired tests decide.",
        grid=Grid(caption="Figures with intervals", columns=columns, rows=rows),
        plot=Plot(11.4, 0.75 + 0.34 * len(names), panels),
    )


def _whisker(panel: Panel, found: Estimate | None, metric: Metric, y: float, look: Look) -> None:
    if found is None or found.value is None:
        panel.add(Words("n/a", 0.5, y, anchor="middle", rise="middle", colour=MUTED, size=SMALL, shares=(True, False)))
        return
    scale = 100 if is_share(metric) else 1
    if found.low is not None and found.high is not None:
        panel.whisker((scale * found.low, scale * found.high), y, look.colour)
    panel.add(Curve([scale * found.value], [y], look.colour, width=0, marker=look.marker))


POINTS = 160
"""Steps of a drawn curve: more than a screen can resolve, far fewer than rows."""


def probe_times(log: RunLog) -> dict[str, list[float]]:
    """Seconds of service per answer of each backend's probe (one request at a time), shortest first."""
    found = {}
    for name in log.manifest.backends:
        times = sorted(x.timing.service_s for x in log.lines(name, probe=True).values() if x.error is None)
        if times:
            found[name] = times
    return found


def steps(times: Sequence[float]) -> tuple[list[float], list[float]]:
    """The empirical distribution of sorted times as (seconds, share), thinned to at most POINTS steps."""
    n = len(times)
    ranks = range(1, n + 1) if n <= POINTS else [round(1 + k * (n - 1) / (POINTS - 1)) for k in range(POINTS)]
    return [times[r - 1] for r in ranks], [r / n for r in ranks]


def latency(times: Mapping[str, Sequence[float]]) -> Chart | None:
    """One curve per backend; None without a probe. times: as `probe_times` gives them."""
    if not times:
        return None
    seen = looks(list(times))
    how = "one request at a time"
    plot, panel = Plot.single(5.4, 3.5)
    for name, values in times.items():
        x, y = steps(values)
        look = seen[name]
        panel.add(Curve(x, [100 * v for v in y], look.colour, dash=look.dash, stepped=True, named=label(name)))
    panel.y.low, panel.y.high = 0, 101
    panel.x.label, panel.y.label = f"seconds until the answer, {how}", "% of answers"
    panel.x.scale([v for values in times.values() for v in (values[0], values[-1])], seconds)
    panel.legend = Legend("lower right")
    rows = tuple(
        (
            TableCell(text=visible_line(name)),
            *(TableCell(text=seconds(q)) for q in _quantiles(values)),
            TableCell(text=count(len(values))),
        )
        for name, values in times.items()
    )
    headings = ("fastest", "p25", "p50", "p75", "p95", "p99", "slowest", "answers")
    return Chart(
        name="latency",
        title="Distribution of latency",
        caption=f"Share of the answers that had arrived after this time, {how}; queueing and retries excluded.",
        grid=Grid(
            caption=f"Seconds until the answer, {how}",
            columns=(TableColumn(title="backend", numeric=False), *(TableColumn(title=h) for h in headings)),
            rows=rows,
        ),
        plot=plot,
    )


def _quantiles(times: Sequence[float]) -> list[float]:
    """The smallest time that so large a share of the answers did not exceed."""
    last = len(times) - 1
    return [times[0], *(times[min(last, int(q * len(times)))] for q in (0.25, 0.5, 0.75, 0.95, 0.99)), times[-1]]


def format_errors(summary: Summary) -> Chart | None:
    """Malformed answers by kind, a bar per backend; None where nobody made any."""
    names = [n for n in by_rank(summary) if summary.backends[n].format_errors]
    kinds = sorted({k for n in names for k in summary.backends[n].format_errors})
    if not kinds:
        return None
    plot, panel = Plot.single(5.4, 1.0 + 0.36 * len(names))
    left = [0] * len(names)
    for i, kind in enumerate(kinds):
        widths = [summary.backends[n].format_errors.get(kind, 0) for n in names]
        paler = 0.6 ** (i // len(SERIES))
        panel.add(Bars(left, widths, range(len(names)), SERIES[i % len(SERIES)], label(kind), paler))
        left = [a + b for a, b in zip(left, widths, strict=True)]
    panel.y.list_names([label(n) for n in names])
    panel.y.grid = False
    panel.x.label = "answers"
    panel.legend = Legend("below", columns=3)
    columns = (TableColumn(title="backend", numeric=False), *(TableColumn(title=visible_line(k)) for k in kinds))
    rows = tuple(
        (
            TableCell(text=visible_line(n)),
            *(TableCell(text=count(summary.backends[n].format_errors.get(k, 0))) for k in kinds),
        )
        for n in names
    )
    clean = [n for n in by_rank(summary) if n not in names]
    note = f" None from {listing([visible_line(n) for n in clean])}." if clean else ""
    return Chart(
        name="format-errors",
        title="Format errors by kind",
        caption=f"Answers that could not be read strictly; each counts as wrong in every metric of quality.{note}",
        grid=Grid(caption="Format errors by kind", columns=columns, rows=rows),
        plot=plot,
    )


def confusion(summary: Summary, name: str) -> Chart | None:
    """One backend's confusion matrix as a picture for papers; pages show it as a shaded table."""
    table = summary.backends[name].confusion
    if table is None or len(table.labels) > MOST_COLUMNS:
        return None
    shares = [[v / (sum(row) or 1) for v in row] for row in table.counts]
    side = 1.2 + 0.55 * len(table.answers)
    plot, panel = Plot.single(side + 0.6, side)
    panel.square = True
    panel.add(Shades(shares))
    for i, row in enumerate(table.counts):
        panel.add(*(Words(count(v), j, i, anchor="middle", rise="middle", size=SMALL) for j, v in enumerate(row)))
    panel.x = Axis("answer", ticks=range(len(table.answers)), names=[label(a) for a in table.answers], slanted=True)
    panel.y.list_names([label(a) for a in table.labels])
    panel.y.label = "reference"
    panel.x.grid = panel.y.grid = False
    headings = (
        TableColumn(title="reference", numeric=False),
        *(TableColumn(title=visible_line(a)) for a in table.answers),
    )
    rows = tuple(
        (TableCell(text=visible_line(ref)), *(TableCell(text=count(v)) for v in row))
        for ref, row in zip(table.labels, table.counts, strict=True)
    )
    return Chart(
        name=f"confusion-{name}",
        title=f"What {visible_line(name)} answered",
        caption="Rows are references, columns answers; shaded by the share of the row.",
        grid=Grid(caption=f"Confusion of {visible_line(name)}", columns=headings, rows=rows),
        plot=plot,
    )
