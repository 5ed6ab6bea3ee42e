"""Figures by matplotlib, turned into inline SVG that follows the page's colours and obeys its content policy.

The figure is drawn in the colours of the light page; for a page each of them becomes a CSS variable, style
attributes become plain SVG attributes (the policy forbids the former) and ids get the chart's own prefix.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from harness.reports.table_model import Grid
from harness.text_sanitize import visible_line

INK, MUTED, LINE = "#1b1f24", "#59636e", "#d8dde3"
SERIES = ("#0072b2", "#c24e00", "#007a59", "#a84a85", "#8a6300", "#4b5bb5", "#6e6e6e")
"""Okabe and Ito's colour-blind-safe hues, darkened to 3:1 against white; markers and dashes repeat the distinction."""
MARKERS = "osD^vPX"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)), (0, (2, 3)))
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    colour: f"var(--s{i})" for i, colour in enumerate(SERIES)
}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "text.parse_math": False,  # a label is a label, whatever dollar signs it holds
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


BROAD = 8
"""Inches. A wider picture is not shrunk to the width of a telephone: it scrolls."""


class Look(NamedTuple):
    """How one backend is drawn, the same in every picture of a page."""

    colour: str
    marker: str
    dash: Any


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A colour, a marker and a dash pattern for each name; from the eighth on they come round again."""
    k = len(SERIES)
    return {n: Look(SERIES[i % k], MARKERS[i % k], DASHES[i % k]) for i, n in enumerate(names)}


class Chart(NamedTuple):
    """A picture and everything it needs to be understood without being seen.

    caption is printed below it and is its description for screen readers; grid holds its figures as a table.
    """

    name: str
    title: str
    caption: str
    grid: Grid
    figure: Figure

    @property
    def svg(self) -> Markup:
        """Inline SVG for a page."""
        return _inline(self)


def draw(size: tuple[float, float], paint: Callable[[Figure], None]) -> Figure:
    """A figure of this size in inches, painted in the house style."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size)
        paint(figure)
    return figure


def label(text: str, most: int = 28) -> str:
    """A name as a chart shows it."""
    return visible_line(text, most)


def quiet_axes(ax: Axes, axis: str) -> None:
    """Grid lines along one axis only, no tick marks."""
    ax.grid(visible=False, axis="y" if axis == "x" else "x")
    ax.tick_params(length=0, which="both")


def scale_axis(axis: Axis, values: Sequence[float], form: Callable[[float], str]) -> None:
    """A logarithmic axis where all values are positive, with ticks at 1, 2, 5 where they span few decades."""
    if values and min(values) > 0:
        axis.axes.set(**{f"{'x' if axis is axis.axes.xaxis else 'y'}scale": "log"})
        few = max(values) / min(values) < 300
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))


def save(chart: Chart, folder: Path) -> list[Path]:
    """Write `<name>.svg` and `<name>.png` (200 dots an inch, white) and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{chart.name}.svg", folder / f"{chart.name}.png"]
    paths[0].write_bytes(_render(chart, "svg", facecolor="white"))
    paths[1].write_bytes(_render(chart, "png", facecolor="white", dpi=200))
    return paths


def _render(chart: Chart, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's own font will have it
        chart.figure.savefig(out, format=kind, metadata=metadata, bbox_inches="tight", pad_inches=0.04, **more)
    return out.getvalue()


def _attributes(match: re.Match[str]) -> str:
    """A style attribute as SVG presentation attributes."""
    found = []
    for part in match.group(1).split(";"):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        if key == "font":
            size = re.search(r"([\d.]+)px", value)
            found.append(f'font-size="{size.group(1)}"' if size else "")
            if value.startswith(("bold", "600", "700")):
                found.append('font-weight="600"')
        elif key:
            found.append(f'{key}="{value}"')
    return " ".join(f for f in found if f)


def _inline(chart: Chart) -> Markup:
    text = _render(chart, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'style="([^"]*)"', _attributes, text)
    text = text.replace("xlink:href", "href")
    text = re.sub(
        r'\s(?:id="(?:figure|axes|patch|text|line2d|matplotlib|xtick|ytick|legend|PathColl|LineColl|Fill)[^"]*")',
        "",
        text,
    )
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{chart.name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    view = re.search(r'viewBox="([^"]*)"', text)
    assert view is not None, "matplotlib writes a viewBox"
    kind = ' class="broad"' if chart.figure.get_figwidth() > BROAD else ""
    head = (
        f'<svg viewBox="{view.group(1)}" role="img"{kind} '
        f'aria-labelledby="{chart.name}-title {chart.name}-desc">'
        f'<title id="{chart.name}-title">{escape(chart.title)}</title>'
        f'<desc id="{chart.name}-desc">{escape(chart.caption)}</desc>'
    )
    # matplotlib's own output, with the two texts escaped above
    return Markup(re.sub(r"^<svg[^>]*>", lambda _: head, text).strip())
