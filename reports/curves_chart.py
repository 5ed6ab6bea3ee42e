"""How a training went: losses, validation scores and the learning rate by step, the kept checkpoint marked."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.metrics import title

from .drawing import INK, MUTED, Chart, draw, label, looks
from .grid import Cell, Column, Grid
from .history import History, Points
from .visible import one_line

WIDE = (5.4, 3.1)


def losses(history: History, kept: int | None) -> Chart | None:
    """Training and validation loss; None where fewer than two were noted."""
    curves = {"training": history.loss, "validation": history.validation_loss}
    return _curves(
        "loss",
        "Loss",
        "Mean loss of an answer's tokens (or of the class). A validation loss that rises while the training loss "
        "falls means that rows are learned by heart.",
        {name: points for name, points in curves.items() if points},
        kept,
    )


def scores(history: History, metric: str | None, kept: int | None) -> Chart | None:
    """Validation scores, the one that chose first; None where rows were asked fewer than two times."""
    names = sorted(history.scores, key=lambda name: name != metric)
    named = title(metric or "")
    chosen = f"{named[:1].upper()}{named[1:]} chose the checkpoint. " if metric in history.scores else ""
    return _curves(
        "scores",
        "Validation scores",
        f"{chosen}What the task's own scoring says of the model's answers to the validation rows.",
        {title(name): history.scores[name] for name in names},
        kept,
    )


def learning_rate(history: History) -> Chart | None:
    """The learning rate; None where it was not noted."""
    caption = "How far a step may move the weights."
    return _curves("rate", "Learning rate", caption, {"learning rate": history.learning_rate}, None)


def _curves(name: str, heading: str, caption: str, curves: Mapping[str, Points], kept: int | None) -> Chart | None:
    if max((len(points) for points in curves.values()), default=0) < 2:
        return None
    seen = looks(list(curves))
    mark = kept if kept is not None and any(kept in points for points in curves.values()) else None

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        if mark is not None:
            _mark(ax, mark)
        for curve, points in curves.items():
            look = seen[curve]
            marker = look.marker if len(points) <= 20 else None
            ax.plot(
                list(points), list(points.values()), color=look.colour, ls=look.dash, lw=1.6, marker=marker, ms=4,
                label=label(curve),
            )  # fmt: skip
        ax.set_xlabel("step")
        ax.grid(visible=False, axis="x")
        ax.tick_params(length=0, which="both")
        ax.set_ylim(bottom=0 if name == "rate" else None)
        ax.margins(x=0.02, y=0.1)
        if len(curves) > 1:
            ax.legend(loc="upper left", bbox_to_anchor=(0, -0.17), ncols=3, labelcolor=INK)

    note = f" The dotted line marks the checkpoint that was kept (step {mark:,})." if mark is not None else ""
    return Chart(
        name=name,
        title=heading,
        caption=caption + note,
        grid=_grid(heading, curves),
        figure=draw(WIDE, paint),
    )


def _mark(ax: Axes, step: int) -> None:
    ax.axvline(step, color=MUTED, lw=1, ls=":")
    ax.annotate(
        "kept", (step, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points", ha="center",
        va="bottom", color=MUTED, size=8.5,
    )  # fmt: skip


def _grid(heading: str, curves: Mapping[str, Points]) -> Grid:
    steps = sorted({step for points in curves.values() for step in points})
    rows = tuple(
        (
            Cell(text=f"{step:,}"),
            *(Cell(text=f"{points[step]:.4g}" if step in points else "-") for points in curves.values()),
        )
        for step in steps
    )
    columns = (Column(title="step"), *(Column(title=one_line(name)) for name in curves))
    return Grid(caption=f"{heading} by step", columns=columns, rows=rows)
