"""Plots painted as inline SVG that follows a page's colours and obeys its content policy.

The light page's colours become CSS variables; every property is an attribute of its own (the policy forbids `style`).
Importing a drawing library and drawing six charts with it takes twice the time of everything else in a report.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup, escape

from harness.reports.plot import (
    LINE,
    MUTED,
    SERIES,
    SMALL,
    Axis,
    Band,
    Bars,
    Columns,
    Curve,
    Legend,
    Mark,
    Panel,
    Plot,
    Rule,
    Shades,
    Words,
)
from harness.reports.svg_canvas import Box, Canvas, number, path, text_width
from harness.reports.table_model import Grid
from harness.reports.ticks import ends, linear_ticks, log_ticks, plain

BROAD = 8
"""Inches. A wider picture is not shrunk to the width of a telephone: it scrolls."""

POINTS = 72
SHARE = 0.775
"""Of a plot's width and height that its panels take; texts lie around them, outside of it where they need more."""
GAP = 0.12
"""Between panels, in widths of one."""
PAD, EDGE = 4.0, 3.0
"""Points between an axis and its texts, and around a picture."""
HANDLE, LEAD = 18.0, 1.5
"""Of a legend: points of a line shown, and the height of an entry in text sizes."""


class Chart(NamedTuple):
    """A picture and everything it needs to be understood without being seen.

    caption is printed below it and is its description for screen readers; grid holds its figures as a table.
    """

    name: str
    title: str
    caption: str
    grid: Grid
    plot: Plot

    @property
    def svg(self) -> Markup:
        """Inline SVG for a page."""
        box, body = paint(self.plot)
        view = " ".join(number(v) for v in (box.left, box.top, box.right - box.left, box.bottom - box.top))
        kind = ' class="broad"' if self.plot.width > BROAD else ""
        return Markup(
            f'<svg viewBox="{view}" role="img"{kind} aria-labelledby="{self.name}-title {self.name}-desc">'
            f'<title id="{self.name}-title">{escape(self.title)}</title>'
            f'<desc id="{self.name}-desc">{escape(self.caption)}</desc>{body}</svg>'
        )


class Scale(NamedTuple):
    """Data to points along one axis: `low` is at `start`, `high` at `stop`."""

    low: float
    high: float
    start: float
    stop: float
    log: bool

    def at(self, value: float) -> float:
        """Where a value lies; one that a logarithmic axis cannot show at its lower end."""
        if self.log:
            value = math.log(max(value, min(self.low, self.high)) / self.low) / math.log(self.high / self.low)
        else:
            value = (value - self.low) / (self.high - self.low)
        return self.start + value * (self.stop - self.start)


def paint(plot: Plot) -> tuple[Box, str]:
    """What is seen of a plot, and its SVG elements."""
    canvas = Canvas()
    width, height = SHARE * POINTS * plot.width, SHARE * POINTS * plot.height
    count = len(plot.panels)
    one = width / (count + GAP * (count - 1))
    for k, panel in enumerate(plot.panels):
        left = k * (1 + GAP) * one
        _panel(canvas, panel, Box(left, 0.0, left + one, height), first=k == 0)
    assert canvas.box is not None, "a panel has axes"
    box = Box(*(v + side * EDGE for v, side in zip(canvas.box, (-1, -1, 1, 1), strict=True)))
    return box, "".join(canvas.parts)


def _panel(canvas: Canvas, panel: Panel, box: Box, first: bool) -> None:
    x = Scale(*ends(panel.x, panel.marks, upright=False), box.left, box.right, panel.x.log)
    y = Scale(*ends(panel.y, panel.marks, upright=True), box.bottom, box.top, panel.y.log)
    canvas.hold([box[:2], box[2:]])
    below = _x_axis(canvas, panel.x, x, box)
    _y_axis(canvas, panel.y, y, box, named=first)
    for mark in panel.marks:
        PAINTERS[type(mark)](canvas, mark, x, y)
    if panel.title:
        canvas.text(panel.title, (box.left, box.top - 6))
    if panel.legend is not None:
        _legend(canvas, panel, panel.legend, box, below)


def _labels(axis: Axis, scale: Scale, most: int) -> list[tuple[float, str]]:
    """Ticks within the ends, and their texts."""
    if axis.ticks is not None:
        names = axis.names if axis.names is not None else plain(list(axis.ticks))
        return list(zip(axis.ticks, names, strict=True))
    found = log_ticks(scale.low, scale.high) if axis.log else linear_ticks(scale.low, scale.high, most)
    return list(zip(found, map(axis.form, found) if axis.form else plain(found), strict=True))


def _x_axis(canvas: Canvas, axis: Axis, scale: Scale, box: Box) -> float:
    """Grid, texts and line below; returns how far down they reach."""
    taken, lowest = -math.inf, box.bottom
    for value, text in _labels(axis, scale, _most(box.right - box.left, 3)):
        at = scale.at(value)
        if axis.grid:
            canvas.line([(at, box.bottom), (at, box.top)], LINE, 0.6)
        half = text_width(text, SMALL) / 2
        if axis.slanted:
            canvas.text(
                text, (at + 3, box.bottom + PAD), size=SMALL, colour=axis.colour, anchor="end", rise="top", turn=30
            )
            lowest = max(lowest, box.bottom + PAD + half + SMALL)
        elif at - half > taken:  # texts that would run into each other are left out
            canvas.text(text, (at, box.bottom + PAD), size=SMALL, colour=axis.colour, anchor="middle", rise="top")
            taken, lowest = at + half + 2, box.bottom + PAD + SMALL
    canvas.line([(box.left, box.bottom), (box.right, box.bottom)], LINE, 0.8)
    if axis.label:
        middle = (box.left + box.right) / 2, lowest + PAD
        canvas.text(axis.label, middle, size=SMALL, colour=MUTED, anchor="middle", rise="top")
        lowest += PAD + SMALL
    return lowest


def _most(length: float, sizes: int) -> int:
    """How many numbers an axis has room for, each so many text sizes long."""
    return max(1, min(9, int(length / (sizes * SMALL))))


def _y_axis(canvas: Canvas, axis: Axis, scale: Scale, box: Box, named: bool) -> None:
    widest = 0.0
    for value, text in _labels(axis, scale, _most(box.bottom - box.top, 2)):
        at = scale.at(value)
        if axis.grid:
            canvas.line([(box.left, at), (box.right, at)], LINE, 0.6)
        if named:
            canvas.text(text, (box.left - PAD, at), size=SMALL, colour=axis.colour, anchor="end", rise="middle")
            widest = max(widest, text_width(text, SMALL))
    canvas.line([(box.left, box.bottom), (box.left, box.top)], LINE, 0.8)
    if axis.label and named:
        middle = box.left - PAD - widest - PAD, (box.top + box.bottom) / 2
        canvas.text(axis.label, middle, size=SMALL, colour=MUTED, anchor="middle", turn=90)


def _curve(canvas: Canvas, mark: Curve, x: Scale, y: Scale) -> None:
    points = [
        (x.at(a), y.at(b)) for a, b in zip(mark.xs, mark.ys, strict=True) if math.isfinite(a) and math.isfinite(b)
    ]
    if mark.width and len(points) > 1:
        corners = points
        if mark.stepped:
            corners = [p for a, b in pairwise(points) for p in (a, (b[0], a[1]))] + points[-1:]
        canvas.line(corners, mark.colour, mark.width, mark.dash, mark.opacity)
    if mark.marker:
        for point in points:
            _marker(canvas, mark, point)


PLUS = ((-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1), (1, 3), (-1, 3), (-1, 1), (-3, 1), (-3, -1), (-1, -1))
CROSS = ((-1, -2), (0, -1), (1, -2), (2, -1), (1, 0), (2, 1), (1, 2), (0, 1), (-1, 2), (-2, 1), (-1, 0), (-2, -1))
OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "s": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "D": ((0, -1.41), (1.41, 0), (0, 1.41), (-1.41, 0)),
    "^": ((0, -1), (1, 1), (-1, 1)),
    "v": ((0, 1), (1, -1), (-1, -1)),
    "P": tuple((a / 3, b / 3) for a, b in PLUS),
    "X": tuple((a / 2, b / 2) for a, b in CROSS),
}
"""Markers in half sizes around their point."""


def _marker(canvas: Canvas, mark: Curve, at: tuple[float, float]) -> None:
    x, y = at
    half = mark.size / 2
    if mark.marker == "|":
        canvas.line([(x, y - half), (x, y + half)], mark.colour, mark.mark_width)
        return
    look: dict[str, float | str] = {
        "fill": "none" if mark.hollow else mark.colour, "stroke": mark.colour, "stroke_width": mark.mark_width
    }  # fmt: skip
    if mark.marker == "o":
        canvas.element("circle", cx=x, cy=y, r=half, **look)
    else:
        outline = [(x + half * a, y + half * b) for a, b in OUTLINES[mark.marker]]
        canvas.element("path", d=path(outline, closed=True), **look)


def _bars(canvas: Canvas, mark: Bars, x: Scale, y: Scale) -> None:
    for left, width, middle in zip(mark.lefts, mark.widths, mark.ys, strict=True):
        if width:
            _area(
                canvas,
                (x.at(left), x.at(left + width)),
                (y.at(middle - 0.3), y.at(middle + 0.3)),
                mark.colour,
                mark.opacity,
            )


def _area(canvas: Canvas, xs: tuple[float, float], ys: tuple[float, float], colour: str, opacity: float = 1.0) -> None:
    more: dict[str, float | str] = {"fill_opacity": opacity} if opacity < 1 else {}
    (left, right), (top, bottom) = sorted(xs), sorted(ys)
    canvas.element("rect", x=left, y=top, width=right - left, height=bottom - top, fill=colour, **more)


def _band(canvas: Canvas, mark: Band, x: Scale, y: Scale) -> None:
    there = [(x.at(a), y.at(b)) for a, b in zip(mark.xs, mark.highs, strict=True)]
    back = [(x.at(a), y.at(b)) for a, b in zip(mark.xs, mark.lows, strict=True)]
    canvas.element("path", d=path([*there, *reversed(back)], closed=True), fill=mark.colour, fill_opacity=mark.opacity)


def _columns(canvas: Canvas, mark: Columns, x: Scale, y: Scale) -> None:
    for left, right, height in zip(mark.edges, mark.edges[1:], mark.heights, strict=False):
        if height:
            _area(canvas, (x.at(left), x.at(right)), (y.at(0), y.at(height)), mark.colour)


def _rule(canvas: Canvas, mark: Rule, x: Scale, y: Scale) -> None:
    canvas.line([(x.at(mark.x), y.start), (x.at(mark.x), y.stop)], mark.colour, 1.0, mark.dash)


def _shades(canvas: Canvas, mark: Shades, x: Scale, y: Scale) -> None:
    for i, row in enumerate(mark.shares):
        for j, share in enumerate(row):
            _area(canvas, (x.at(j - 0.5), x.at(j + 0.5)), (y.at(i - 0.5), y.at(i + 0.5)), SERIES[0], 0.05 + 0.5 * share)


def _words(canvas: Canvas, mark: Words, x: Scale, y: Scale) -> None:
    across = x.start + mark.x * (x.stop - x.start) if mark.shares[0] else x.at(mark.x)
    up = y.start + mark.y * (y.stop - y.start) if mark.shares[1] else y.at(mark.y)
    place = across + mark.shift[0], up - mark.shift[1]
    canvas.text(mark.text, place, size=mark.size, colour=mark.colour, anchor=mark.anchor, rise=mark.rise)


PAINTERS: dict[type[Mark], Callable[..., None]] = {
    Curve: _curve, Bars: _bars, Band: _band, Columns: _columns, Rule: _rule, Shades: _shades, Words: _words
}  # fmt: skip


def _legend(canvas: Canvas, panel: Panel, legend: Legend, box: Box, below: float) -> None:
    """Handles and names, in columns of equal width."""
    shown = [mark for mark in panel.marks if isinstance(mark, Curve | Bars) and mark.named]
    if not shown:
        return
    lead = LEAD * SMALL
    wide = HANDLE + 7 + max(text_width(mark.named, SMALL) for mark in shown)
    lines = -(-len(shown) // legend.columns)
    high = lines * lead
    left, top = {
        "below": (box.left, below + 6),
        "upper left": (box.left + 8, box.top + 4),
        "lower left": (box.left + 8, box.bottom - 4 - high),
        "lower right": (box.right - 6 - wide, box.bottom - 4 - high),
    }[legend.place]
    for k, mark in enumerate(shown):
        column, line = divmod(k, lines)
        x, y = left + column * (wide + 14), top + (line + 0.5) * lead
        if isinstance(mark, Bars):
            _area(canvas, (x + 6, x + HANDLE), (y - 3, y + 3), mark.colour, mark.opacity)
        else:
            canvas.line([(x, y), (x + HANDLE, y)], mark.colour, mark.width, mark.dash)
            if mark.marker:
                _marker(canvas, mark, (x + HANDLE / 2, y))
        canvas.text(mark.named, (x + HANDLE + 7, y), size=SMALL, rise="middle")
