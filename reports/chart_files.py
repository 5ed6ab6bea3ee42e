"""Charts as files for papers and slides: SVG, and PNG of 200 dots an inch, drawn by matplotlib on white."""

import io
import warnings
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis as DrawnAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.reports.plot import (
    INK,
    LINE,
    MUTED,
    SMALL,
    TEXT_SIZE,
    Axis,
    Band,
    Bars,
    Columns,
    Curve,
    Dash,
    Legend,
    Mark,
    Panel,
    Plot,
    Rule,
    Shades,
    Words,
)
from harness.reports.svg_charts import GAP, Chart
from harness.reports.ticks import ends, log_ticks

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "text.parse_math": False,  # a label is a label, whatever dollar signs it holds
    "font.size": TEXT_SIZE,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": SMALL,
    "axes.titlesize": TEXT_SIZE,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
}


def save(chart: Chart, folder: Path) -> list[Path]:
    """Write `<name>.svg` and `<name>.png` and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = draw(chart.plot)
    paths = [folder / f"{chart.name}.svg", folder / f"{chart.name}.png"]
    paths[0].write_bytes(_render(figure, "svg"))
    paths[1].write_bytes(_render(figure, "png", dpi=200))
    return paths


def _render(figure: Figure, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's own font may have it
        figure.savefig(
            out, format=kind, metadata=metadata, bbox_inches="tight", pad_inches=0.04, facecolor="white", **more
        )
    return out.getvalue()


def draw(plot: Plot) -> Figure:
    """A plot as matplotlib's figure."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(plot.width, plot.height))
        drawn = figure.subplots(1, len(plot.panels), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(wspace=GAP)
        for ax, panel in zip(drawn, plot.panels, strict=True):
            _panel(ax, panel)
    return figure


def _panel(ax: Axes, panel: Panel) -> None:
    ax.set_title(panel.title)
    for mark in panel.marks:
        _mark(ax, mark)
    _axis(ax.xaxis, panel.x, panel, upright=False)
    _axis(ax.yaxis, panel.y, panel, upright=True)
    ax.tick_params(length=0, which="both")
    if panel.square:
        ax.set_aspect("equal")
    if panel.legend is not None:
        _legend(ax, panel.legend)


def _axis(drawn: DrawnAxis, axis: Axis, panel: Panel, upright: bool) -> None:
    letter: Literal["x", "y"] = "y" if upright else "x"
    drawn.axes.set(**{f"{letter}scale": "log" if axis.log else "linear", f"{letter}label": axis.label})
    low, high = ends(axis, panel.marks, upright)
    drawn.axes.set(**{f"{letter}lim": (low, high)})
    if axis.ticks is not None:
        lean: Any = {"rotation": 30, "ha": "right"} if axis.slanted else {}
        drawn.set_ticks(list(axis.ticks), None if axis.names is None else list(axis.names), **lean)
    elif axis.log:
        drawn.set_major_locator(FixedLocator(log_ticks(low, high)))
    drawn.set_minor_locator(NullLocator())
    form = axis.form
    if form is not None:
        drawn.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
    drawn.axes.tick_params(axis=letter, labelcolor=axis.colour)
    drawn.grid(visible=axis.grid)


def _dash(dash: Dash) -> Any:
    return (0, dash) if dash else "-"


def _mark(ax: Axes, mark: Mark) -> None:
    match mark:
        case Curve():
            _curve(ax, mark)
        case Bars():
            look: Any = {"color": mark.colour, "label": mark.named or None, "height": 0.6, "alpha": mark.opacity}
            ax.barh(list(mark.ys), list(mark.widths), left=list(mark.lefts), **look)
        case Band():
            ax.fill_between(mark.xs, mark.lows, mark.highs, color=mark.colour, alpha=mark.opacity, lw=0)
        case Columns():
            ax.stairs(mark.heights, mark.edges, fill=True, color=mark.colour, lw=0)
        case Rule():
            ax.axvline(mark.x, color=mark.colour, lw=1, ls=_dash(mark.dash))
        case Shades():
            ax.imshow(mark.shares, cmap="Blues", vmin=0, vmax=1.6)
        case Words():
            _words(ax, mark)


def _curve(ax: Axes, mark: Curve) -> None:
    look: Any = {
        "color": mark.colour, "lw": mark.width, "ls": _dash(mark.dash) if mark.width else "none", "alpha": mark.opacity,
        "marker": mark.marker or None, "ms": mark.size, "mew": mark.mark_width, "label": mark.named or None,
        "drawstyle": "steps-post" if mark.stepped else "default",
    }  # fmt: skip
    if mark.hollow:
        look["mfc"] = "none"
    if not mark.dash and len(mark.xs) == 2:
        look["solid_capstyle"] = "butt"
    ax.plot(mark.xs, mark.ys, **look)


def _words(ax: Axes, mark: Words) -> None:
    across, up = ("axes fraction" if share else "data" for share in mark.shares)
    look: Any = {"ha": {"start": "left", "middle": "center", "end": "right"}[mark.anchor], "va": _RISES[mark.rise]}
    ax.annotate(
        mark.text, (mark.x, mark.y), xycoords=(across, up), xytext=mark.shift, textcoords="offset points",
        color=mark.colour, size=mark.size, **look,
    )  # fmt: skip


_RISES = {"bottom": "baseline", "middle": "center", "top": "top"}


def _legend(ax: Axes, legend: Legend) -> None:
    where: Any = {"loc": legend.place}
    if legend.place == "below":
        down = 40 / ax.get_window_extent().height * ax.figure.dpi / 72
        where = {"loc": "upper left", "bbox_to_anchor": (0, -down), "columnspacing": 1.2}
    ax.legend(**where, ncols=legend.columns, labelcolor=INK)
