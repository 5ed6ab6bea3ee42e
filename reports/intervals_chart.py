"""Every main metric of every backend with its interval."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.metrics import Metric
from harness.results import Estimate, Summary
from harness.summary.stored_verdict import by_rank

from .drawing import MUTED, Chart, Look, draw, label, looks, quiet_axes
from .grid import Cell, Column, Grid
from .leading import figure as figure_cell
from .leading import heading, main_metrics
from .visible import one_line
from .words import is_share


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
        (Cell(text=one_line(n)), *(figure_cell(summary.backends[n].metrics, m) for m in metrics)) for n in names
    )
    columns = (Column(title="backend", numeric=False), *map(heading, metrics))
    return Chart(
        name="intervals",
        title="How sure are we?",
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
