"""Badges and a Markdown table of a leaderboard, for the README of another repository."""

import re
import warnings
from functools import cache

from markupsafe import Markup
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from harness.gating.gate_result import WORDS
from harness.reports.jinja_env import environment
from harness.results import Estimate
from harness.summary.candidate_history import BoardCandidate, RowSet
from harness.text_format import figure_of
from harness.text_sanitize import visible_line

COLOURS = {"good": "#0a6640", "bad": "#a8321a", "even": "#6b4d00", "": "#3a4a5c"}
"""Of the right half, 5:1 or more against white text: by the gate's verdict, the last where there is none."""

TONES = {"pass": "good", "unchanged": "good", "inconclusive": "even", "fail": "bad", "incomparable": "bad"}
PADDING = 12
"""Pixels beside and between the two texts."""


@cache
def _width(text: str) -> float:
    """Pixels of a text in the badge's font, 11 px DejaVu Sans (as wide as Verdana)."""
    font = FontProperties(family="DejaVu Sans", size=11)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's own font will have it
        width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def badge(left: str, right: str, tone: str = "") -> str:
    """A badge as SVG: what is measured on the left, the figure on the right. tone: a key of COLOURS."""
    left, right = visible_line(left, 60), visible_line(right, 60)
    sizes = [round(_width(text), 1) for text in (left, right)]
    page = environment().get_template("badge.svg.j2")
    return Markup(page.render(left=left, right=right, sizes=sizes, padding=PADDING, colour=COLOURS[tone]))


def candidate_badge(candidate: BoardCandidate, rows: RowSet) -> str:
    """The newest figure of a candidate, coloured by the gate's verdict on it."""
    newest = candidate.newest
    figure = newest.figure(rows.metric)
    shown = figure_of(Estimate(value=figure.value) if figure else None, rows.metric)
    gate = newest.gate
    right = f"{shown} · {WORDS[gate].lower()}" if gate else shown
    task = rows.runs[0].summary.task
    return badge(f"{task} · {candidate.name}", right, TONES.get(gate or "", "even") if gate else "")


def badge_name(task: str, candidate: BoardCandidate, taken: set[str]) -> str:
    """A file name for a candidate's badge that nothing in `taken` has, which it is added to."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{task}-{candidate.name}").strip(".-") or "candidate"
    name, k = f"{stem}.svg", 1
    while name in taken:
        k += 1
        name = f"{stem}-{k}.svg"
    taken.add(name)
    return name
