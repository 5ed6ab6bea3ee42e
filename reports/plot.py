"""Plots as data: marks on axes. A painter makes a picture of one: `svg_charts` SVG for a page,
`chart_files` files for papers.

Sizes of plots are inches, of lines, markers and texts points; a dash pattern counts in widths of its line.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from harness.text_sanitize import visible_line

INK, MUTED, LINE = "#1b1f24", "#59636e", "#d8dde3"
SERIES = ("#0072b2", "#c24e00", "#007a59", "#a84a85", "#8a6300", "#4b5bb5", "#6e6e6e")
"""Okabe and Ito's colour-blind-safe hues, darkened to 3:1 against white; markers and dashes repeat the distinction."""
MARKERS = "osD^vPX"

Dash = tuple[float, ...]
SOLID: Dash = ()
DOTTED: Dash = (1, 1.65)
DASHES: tuple[Dash, ...] = (SOLID, (5, 2), (1, 1.5), (6, 2, 1, 2), (3, 1), (8, 3), (2, 3))

TEXT_SIZE, SMALL = 9.0, 8.5
"""Points: of texts within a plot, and of axes and legends."""

Place = tuple[float, float]
Anchor = Literal["start", "middle", "end"]
Rise = Literal["bottom", "middle", "top"]


class Look(NamedTuple):
    """How one backend is drawn, the same in every picture of a page."""

    colour: str
    marker: str
    dash: Dash


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A colour, a marker and a dash pattern for each name; from the eighth on they come round again."""
    k = len(SERIES)
    return {n: Look(SERIES[i % k], MARKERS[i % k], DASHES[i % k]) for i, n in enumerate(names)}


def label(text: str, most: int = 28) -> str:
    """A name as a chart shows it."""
    return visible_line(text, most)


class Curve(NamedTuple):
    """A line through points, with markers at them; width 0: the markers alone.

    marker: one of MARKERS, "|" or none. mark_width: of the markers' outline. stepped: a value holds until the next
    point. named: its name in the legend.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    colour: str
    width: float = 1.5
    dash: Dash = SOLID
    marker: str = ""
    size: float = 6.0
    hollow: bool = False
    mark_width: float = 1.0
    stepped: bool = False
    named: str = ""
    opacity: float = 1.0


class Bars(NamedTuple):
    """Horizontal bars around `ys`, 0.6 thick, each from its left end."""

    lefts: Sequence[float]
    widths: Sequence[float]
    ys: Sequence[float]
    colour: str
    named: str = ""
    opacity: float = 1.0


class Band(NamedTuple):
    """The area between two curves."""

    xs: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    colour: str
    opacity: float


class Columns(NamedTuple):
    """A histogram: heights between consecutive edges."""

    edges: Sequence[float]
    heights: Sequence[float]
    colour: str


class Rule(NamedTuple):
    """An upright line over the whole height."""

    x: float
    colour: str = MUTED
    dash: Dash = SOLID


class Shades(NamedTuple):
    """A matrix of shares (0 to 1), row by row from the top, as shaded squares around whole numbers."""

    shares: Sequence[Sequence[float]]


class Words(NamedTuple):
    """A text at a place, `shift` points to the right of it and above it.

    x, y: data, or where `shares` says so a share of the panel's width and height (from below). anchor, rise: which part
    of the text is at that place.
    """

    text: str
    x: float
    y: float
    shift: Place = (0.0, 0.0)
    anchor: Anchor = "start"
    rise: Rise = "bottom"
    colour: str = INK
    size: float = TEXT_SIZE
    shares: tuple[bool, bool] = (False, False)


Mark = Curve | Bars | Band | Columns | Rule | Shades | Words


@dataclass
class Axis:
    """A scale. low, high: its ends (low above high: upside down); None: from the data, with a margin on both sides.

    ticks, names: where it is labelled, and how; None: round numbers, written by `form`. slanted: names lean.
    """

    label: str = ""
    low: float | None = None
    high: float | None = None
    margin: float = 0.05
    log: bool = False
    form: Callable[[float], str] | None = None
    ticks: Sequence[float] | None = None
    names: Sequence[str] | None = None
    colour: str = MUTED
    grid: bool = True
    slanted: bool = False

    def list_names(self, names: Sequence[str], colour: str = INK) -> None:
        """One line for each name, from the top downwards."""
        self.ticks, self.names, self.colour = range(len(names)), names, colour
        self.low, self.high = len(names) - 0.5, -0.5

    def scale(self, values: Sequence[float], form: Callable[[float], str]) -> None:
        """Numbers written by `form`; logarithmic where all values are positive."""
        self.form = form
        self.log = bool(values) and min(values) > 0


class Legend(NamedTuple):
    """Names of the curves: in a corner of the panel, or below it in columns."""

    place: Literal["upper left", "lower left", "lower right", "below"]
    columns: int = 1


@dataclass
class Panel:
    """Marks on two axes; later marks lie over earlier ones. square: a unit is as long on both axes."""

    title: str = ""
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=lambda: Axis(colour=INK))
    marks: list[Mark] = field(default_factory=list)
    legend: Legend | None = None
    square: bool = False

    def add(self, *marks: Mark) -> None:
        """Draw over what is there."""
        self.marks += marks

    def whisker(self, span: Place, y: float, colour: str, width: float = 1.8) -> None:
        """A level line from end to end of an interval."""
        self.add(Curve(span, [y, y], colour, width))


@dataclass
class Plot:
    """Panels beside each other that share the names of their y axis; width, height: inches."""

    width: float
    height: float
    panels: list[Panel]

    @classmethod
    def single(cls, width: float, height: float) -> tuple["Plot", Panel]:
        """A plot of one panel, and the panel."""
        panel = Panel()
        return cls(width, height, [panel]), panel
