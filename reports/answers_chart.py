"""What the answers were like: format errors by kind, and confusion matrices."""

from typing import Any

from matplotlib.figure import Figure

from harness.results import Summary
from harness.summary.stored_verdict import by_rank

from .drawing import INK, SERIES, Chart, draw, label, quiet_axes
from .grid import Cell, Column, Grid
from .visible import one_line
from .words import count, listing


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

    columns = (Column(title="backend", numeric=False), *(Column(title=one_line(k)) for k in kinds))
    rows = tuple(
        (Cell(text=one_line(n)), *(Cell(text=count(summary.backends[n].format_errors.get(k, 0))) for k in kinds))
        for n in names
    )
    clean = [n for n in by_rank(summary) if n not in names]
    note = f" None from {listing([one_line(n) for n in clean])}." if clean else ""
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
    if table is None:
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
    headings = (Column(title="reference", numeric=False), *(Column(title=one_line(a)) for a in table.answers))
    rows = tuple(
        (Cell(text=one_line(ref)), *(Cell(text=count(v)) for v in row))
        for ref, row in zip(table.labels, table.counts, strict=True)
    )
    return Chart(
        name=f"confusion-{name}",
        title=f"What {one_line(name)} answered",
        caption="Rows are references, columns answers; shaded by the share of the row.",
        grid=Grid(caption=f"Confusion of {one_line(name)}", columns=headings, rows=rows),
        figure=draw((side + 0.6, side), paint),
    )
