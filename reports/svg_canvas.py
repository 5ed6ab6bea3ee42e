"""SVG elements of one picture: every property an attribute, every colour of the house a variable of the page."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from markupsafe import escape

from harness.reports.plot import INK, LINE, MUTED, SERIES, SOLID, TEXT_SIZE, Anchor, Dash, Rise

VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    colour: f"var(--s{i})" for i, colour in enumerate(SERIES)
}


class Box(NamedTuple):
    """A rectangle in points, from the left and from the top."""

    left: float
    top: float
    right: float
    bottom: float

    def around(self, other: "Box") -> "Box":
        """The smallest box with both."""
        low, high = zip(self[:2], other[:2], strict=True), zip(self[2:], other[2:], strict=True)
        (left, top), (right, bottom) = map(min, low), map(max, high)
        return Box(left, top, right, bottom)


_ADVANCES = (
    "32 40 46 84 64 95 78 27 39 39 50 84 32 36 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 53 100 68 69 70 77 "
    "63 58 77 75 29 29 66 56 86 75 79 60 79 69 63 61 73 68 99 69 61 69 39 34 39 84 50 50 61 63 55 63 62 35 63 63 28 28 "
    "58 28 97 63 61 63 63 41 52 39 63 59 82 59 59 52 64 34 64 84"
)
WIDTHS = {chr(32 + n): int(width) / 100 for n, width in enumerate(_ADVANCES.split())}
"""Of printable ASCII in DejaVu Sans, in text sizes: a broad typeface, so that a page's own needs less."""


@cache
def text_width(text: str, size: float) -> float:
    """Points that a text takes, about."""
    return size * sum(WIDTHS.get(c) or _width(c) for c in text)


def _width(character: str) -> float:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn"):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.65


def number(value: float) -> str:
    """A coordinate, to a hundredth of a point."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


class Canvas:
    """Elements drawn so far, and the box that holds them."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.box: Box | None = None

    def element(self, name: str, **attributes: float | str) -> None:
        """An empty element; a colour of the house becomes its variable, `_` in a name a hyphen."""
        shown = (
            f'{key.replace("_", "-")}="{VARIABLES.get(v, v) if isinstance(v, str) else number(v)}"'
            for key, v in attributes.items()
        )
        self.parts.append(f"<{name} {' '.join(shown)}/>")

    def line(
        self, points: Sequence[tuple[float, float]], colour: str, width: float, dash: Dash = SOLID, opacity: float = 1.0
    ) -> None:
        """A line from point to point."""
        more: dict[str, float | str] = {}
        if dash:
            more["stroke_dasharray"] = " ".join(number(d * width) for d in dash)
        if opacity < 1:
            more["stroke_opacity"] = opacity
        self.element("path", d=path(points), fill="none", stroke=colour, stroke_width=width, **more)

    def text(
        self,
        text: str,
        at: tuple[float, float],
        *,
        size: float = TEXT_SIZE,
        colour: str = INK,
        anchor: Anchor = "start",
        rise: Rise = "bottom",
        turn: float = 0.0,
    ) -> None:
        """A text; turn: degrees, against the clock."""
        if not text:
            return
        x, y = at
        y += size * {"bottom": 0.0, "middle": 0.35, "top": 0.8}[rise]
        turned = f' transform="rotate({number(-turn)} {number(at[0])} {number(at[1])})"' if turn else ""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        fill = VARIABLES.get(colour, colour)
        self.parts.append(
            f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}" fill="{fill}"{where}{turned}>'
            f"{escape(text)}</text>"
        )
        width = text_width(text, size)
        left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        corners = [(left + dx, y + dy) for dx in (0, width) for dy in (-0.8 * size, 0.24 * size)]
        self.hold(_rotated(corners, at, turn))

    def hold(self, points: Iterable[tuple[float, float]]) -> None:
        """The picture is at least as large as these points need."""
        xs, ys = zip(*points, strict=True)
        box = Box(min(xs), min(ys), max(xs), max(ys))
        self.box = box if self.box is None else self.box.around(box)


def _rotated(points: list[tuple[float, float]], around: tuple[float, float], turn: float) -> list[tuple[float, float]]:
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    (x, y) = around
    return [(x + (a - x) * cos + (b - y) * sin, y - (a - x) * sin + (b - y) * cos) for a, b in points]


def path(points: Sequence[tuple[float, float]], closed: bool = False) -> str:
    """The SVG path through points."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points) + ("Z" if closed else "")
