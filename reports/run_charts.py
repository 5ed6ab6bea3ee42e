"""Charts of a run: metric intervals, latency distribution, format errors and confusion matrices."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.metrics import Estimate, Metric
from harness.reports.leaderboard_rows import figure as figure_cell
from harness.reports.leaderboard_rows import heading, main_metrics
from harness.reports.svg_charts import INK, MUTED, SERIES, Chart, Look, draw, label, looks, quiet_axes, scale_axis
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

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for ax, metric in zip(panels, metrics, strict=True):
            for y, name in enumerate(names):
                _whisker(ax, summary.backends[name].metrics.get(metric.name), metric, y, seen[name])
            ax.set_title(heading(metric).title)
            quiet_axes(ax, "x")
            ax.set_ylim(len(names) - 0.5, -0.5)
        panels[0].set_yticks(range(len(names)), [label(n) for n in names])
        figure.subplots_adjust(wspace=0.12)

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
        figure=draw((11.4, 0.75 + 0.34 * len(names)), paint),
    )


def _whisker(ax: Axes, found: Estimate | None, metric: Metric, y: float, look: Look) -> None:
    if found is None or found.value is None:
        ax.annotate(
            "n/a", (0.5, y), xycoords=("axes fraction", "data"), color=MUTED, va="center", ha="center", size=8.5
        )
        return
    scale = 100 if is_share(metric) else 1
    if found.low is not None and found.high is not None:
        ax.plot([scale * found.low, scale * found.high], [y, y], color=look.colour, lw=1.8, solid_capstyle="butt")
    ax.plot([scale * found.value], [y], look.marker, color=look.colour, ms=6)


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

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        for name, values in times.items():
            x, y = steps(values)
            ax.step(
                x, [100 * v for v in y], where="post", color=seen[name].colour, ls=seen[name].dash, label=label(name)
            )
        ax.set_ylim(0, 101)
        ax.set_xlabel(f"seconds until the answer, {how}")
        ax.set_ylabel("% of answers")
        scale_axis(ax.xaxis, [v for values in times.values() for v in (values[0], values[-1])], seconds)
        ax.tick_params(length=0, which="both")
        ax.legend(loc="lower right", labelcolor=INK)

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
        figure=draw((5.4, 3.5), paint),
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

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        left = [0] * len(names)
        for i, kind in enumerate(kinds):
            widths = [summary.backends[n].format_errors.get(kind, 0) for n in names]
            hatch = ("", "///", "...", "xxx", "---")[i // len(SERIES) % 5]
            look: Any = {"color": SERIES[i % len(SERIES)], "hatch": hatch, "label": label(kind), "height": 0.6}
            ax.barh(range(len(names)), widths, left=left, **look)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        ax.set_yticks(range(len(names)), [label(n) for n in names])
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlabel("answers")
        quiet_axes(ax, "x")
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.28), ncols=3, handlelength=1, columnspacing=1.2)

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
        figure=draw((5.4, 1.0 + 0.36 * len(names)), paint),
    )


def confusion(summary: Summary, name: str) -> Chart | None:
    """One backend's confusion matrix as a picture for papers; pages show it as a shaded table."""
    table = summary.backends[name].confusion
    if table is None or len(table.labels) > MOST_COLUMNS:
        return None
    shares = [[v / (sum(row) or 1) for v in row] for row in table.counts]

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.6)
        for i, row in enumerate(table.counts):
            for j, v in enumerate(row):
                ax.annotate(count(v), (j, i), ha="center", va="center", color=INK, size=8.5)
        ax.set_xticks(range(len(table.answers)), [label(a) for a in table.answers], rotation=30, ha="right")
        ax.set_yticks(range(len(table.labels)), [label(a) for a in table.labels])
        ax.set_xlabel("answer")
        ax.set_ylabel("reference")
        ax.grid(visible=False)
        ax.tick_params(length=0)

    side = 1.2 + 0.55 * len(table.answers)
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
        figure=draw((side + 0.6, side), paint),
    )
