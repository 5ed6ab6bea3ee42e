"""How long the training rows are, in tokens, and how long they might be."""

import math

import numpy as np
from matplotlib.figure import Figure

from harness.adapter_examples import Lengths

from .drawing import INK, MUTED, SERIES, Chart, draw
from .grid import Cell, Column, Grid
from .words import plural

MOST_BINS = 30
NEAR = 1.6
"""The limit is drawn where it lies within so many times the longest row; else it is only told."""


def lengths(found: Lengths | None) -> Chart | None:
    """A histogram of the training rows' tokens; None where nothing was kept."""
    if found is None or not found.counts:
        return None
    tokens = np.array(list(found.counts), dtype=np.int64)
    counts = np.array(list(found.counts.values()), dtype=np.int64)
    edges = _edges(int(tokens.min()), int(tokens.max()))
    heights, _ = np.histogram(tokens, bins=edges, weights=counts)
    drawn = found.room <= NEAR * tokens.max()

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        ax.stairs(heights, edges, fill=True, color=SERIES[0], lw=0)
        if drawn:
            ax.axvline(found.room, color=MUTED, lw=1, ls=":")
            ax.annotate(
                f"at most {found.room:,}", (found.room, 1), xycoords=("data", "axes fraction"), xytext=(-4, -2),
                textcoords="offset points", ha="right", va="top", color=INK, size=8.5,
            )  # fmt: skip
        ax.set_xlabel("tokens of prompt and answer")
        ax.set_ylabel("rows")
        ax.grid(visible=False, axis="x")
        ax.tick_params(length=0)

    middle = int(tokens[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])
    limit = f"a row may have {found.room:,}" + ("" if drawn else ", far to the right of this picture")
    rows = tuple(
        (Cell(text=f"{low:,} to {high - 1:,}"), Cell(text=f"{int(height):,}"))
        for low, high, height in zip(edges, edges[1:], heights, strict=False)
    )
    return Chart(
        name="lengths",
        title="Length of the training rows",
        caption=f"{plural(int(counts.sum()), 'row')}: {tokens.min():,} to {tokens.max():,} tokens, {middle:,} in the "
        f"middle; {limit}.",
        grid=Grid(caption="Rows by length", columns=(Column(title="tokens"), Column(title="rows")), rows=rows),
        figure=draw((5.4, 3.1), paint),
    )


def _edges(least: int, most: int) -> list[int]:
    """Whole numbers that cut least..most into bins of one width."""
    width = max(1, math.ceil((most - least + 1) / MOST_BINS))
    return list(range(least, most + 1 + width, width))[: math.ceil((most - least + 1) / width) + 1]
