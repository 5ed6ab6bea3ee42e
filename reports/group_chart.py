"""Trainings made together: every seed of every candidate, their mean and its interval."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.adapter_group import Candidate, Group
from harness.metrics import title

from .drawing import INK, MUTED, SERIES, Chart, draw, label, quiet_axes
from .grid import Cell, Column, Grid
from .visible import one_line
from .words import plural

MOST = 30
"""Candidates that are drawn; the table has them all."""


def candidates(group: Group) -> Grid:
    """All candidates, best first, with mean, spread and interval over seeds."""
    many = len(group.seeds) > 1
    columns = (
        Column(title="rank"),
        *(Column(title=one_line(key), numeric=False) for key in group.swept),
        Column(title=f"mean {title(group.metric)}" if many else title(group.metric)),
        *((Column(title="sd"), Column(title="least"), Column(title="most")) if many else ()),
        Column(title="trainings", numeric=False),
    )
    return Grid(
        caption=f"{plural(group.tried, 'training')}, ranked on {plural(group.rows, 'validation row')}",
        columns=columns,
        rows=tuple(_row(group, c, many) for c in group.candidates),
        sortable=True,
    )


def _row(group: Group, c: Candidate, many: bool) -> tuple[Cell, ...]:
    interval = "" if c.low is None or c.high is None else f"[{c.low:.3f}, {c.high:.3f}]"
    spread = (c.sd, c.least, c.most) if many else ()
    seeds = " · ".join(
        f"seed {t.seed}: {'given up' if t.score is None else f'{t.score:.3f}'}"
        + (" (chosen)" if t.adapter is not None and t.adapter == group.chosen else "")
        for t in c.trainings
    )
    return (
        Cell(text=str(c.rank), sort=float(c.rank)),
        *(Cell(text=one_line(_setting(c.settings[key])), sort=str(c.settings[key])) for key in group.swept),
        Cell(text="-" if c.mean is None else f"{c.mean:.3f}", note=interval, sort=c.mean),
        *(Cell(text="-" if value is None else f"{value:.3f}", sort=value) for value in spread),
        Cell(text=seeds, sort=seeds),
    )


def _setting(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def spread(group: Group) -> Chart | None:
    """Scores of all seeds by candidate; None where fewer than two trainings have one."""
    shown = [c for c in group.candidates[:MOST] if c.mean is not None]
    if sum(t.score is not None for c in shown for t in c.trainings) < 2:
        return None

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        for y, candidate in enumerate(shown):
            _line(ax, candidate, y, group.chosen)
        names = [label(_named(c), 44) for c in shown]
        ax.set_yticks(range(len(shown)), names)
        ax.set_ylim(len(shown) - 0.5, -0.5)
        ax.set_xlabel(title(group.metric))
        ax.margins(x=0.06)
        quiet_axes(ax, "x")

    left_out = len(group.candidates) - len(shown)
    note = f" {plural(left_out, 'candidate')} not shown." if left_out else ""
    whisker = (
        " The upright stroke is the mean over seeds, its line Student's 95 % interval of that mean (wide: few seeds)."
        if len(group.seeds) > 1
        else ""
    )
    return Chart(
        name="spread",
        title=f"{title(group.metric)[0].upper()}{title(group.metric)[1:]} of every training",
        caption=f"Each dot is one training on the same validation rows; the ring is the chosen one.{whisker}{note}",
        grid=candidates(group),
        figure=draw((11.4, 0.9 + 0.34 * len(shown)), paint),
    )


def _line(ax: Axes, candidate: Candidate, y: int, chosen: str) -> None:
    if candidate.mean is not None and candidate.low is not None and candidate.high is not None:
        ax.plot([candidate.low, candidate.high], [y, y], color=MUTED, lw=1.4, solid_capstyle="butt")
        ax.plot([candidate.mean], [y], "|", color=INK, ms=13, mew=1.6)
    for training in candidate.trainings:
        if training.score is not None:
            ax.plot([training.score], [y], "o", color=SERIES[0], ms=5)
            if training.adapter == chosen:
                ax.plot([training.score], [y], "o", mfc="none", mec=SERIES[1], mew=1.6, ms=10)


def _named(candidate: Candidate) -> str:
    return ", ".join(f"{key} {_setting(value)}" for key, value in candidate.settings.items()) or "all seeds"
