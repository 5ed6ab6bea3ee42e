"""Cost against volume: where training pays back, and how that moves when a rented device idles."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.money.economics import at_utilisation, break_even, total_cost
from harness.results import Summary
from harness.summary.stored_verdict import stored_verdict

from .drawing import INK, MUTED, Chart, draw, label, looks, scale_axis
from .grid import Cell, Column, Grid
from .visible import one_line
from .words import money, rounded

SHARES = (1.0, 0.5, 0.25, 0.1)
"""Shares of the paid device hours that are worked: full load, and what interactive services see."""
APART = 1.6
"""Names of curves whose ends are nearer than this would be written over each other."""


def volume(summary: Summary, rented: set[str]) -> Chart | None:
    """What N answers cost from candidate and incumbent, training included; None where a price is unknown.

    rented: backends whose answers are priced by device hours; only their price depends on utilisation.
    """
    verdict = stored_verdict(summary)
    if verdict is None:
        return None
    pair = verdict.candidate, verdict.incumbent
    own, other = (summary.backends[n].cost for n in pair)
    if own.per_1000 is None or other.per_1000 is None or own.training is None:
        return None
    training, price, rival = own.training, own.per_1000, other.per_1000
    shares = SHARES if pair[0] in rented else (1.0,)
    points = {s: break_even(training, at_utilisation(price, s), rival) for s in shares}
    known = [p for p in points.values() if p]
    top = 20 * max(known, default=50_000.0)
    volumes = [top * 10 ** (-k / 20) for k in range(60, -1, -1)]  # three decades, the break-even points well inside
    seen = looks(list(summary.backends))

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        busy, idle = (
            [total_cost(training, at_utilisation(price, s), v) or 0.0 for v in volumes] for s in (shares[0], shares[-1])
        )
        ax.plot(volumes, busy, color=seen[pair[0]].colour, lw=2.0)
        _name(ax, label(pair[0]), volumes[-1], busy[-1], INK)
        if len(shares) > 1:
            ax.fill_between(volumes, busy, idle, color=seen[pair[0]].colour, alpha=0.15, lw=0)
            if idle[-1] > APART * busy[-1]:
                _name(ax, f"used {shares[-1]:.0%}", volumes[-1], idle[-1], MUTED)
        theirs = [total_cost(other.training, rival, v) or 0.0 for v in volumes]
        ax.plot(volumes, theirs, color=seen[pair[1]].colour, lw=2.0, ls=seen[pair[1]].dash)
        _name(ax, label(pair[1]), volumes[-1], theirs[-1], INK)
        for point in known:
            ax.plot([point], [total_cost(None, rival, point) or 0.0], "o", ms=6, color=INK, mfc="none")
        scale_axis(ax.xaxis, volumes, lambda v: f"{v:,.0f}")
        scale_axis(ax.yaxis, [min(busy + theirs), max(idle + theirs)], money)
        ax.set_xlabel("answers")
        ax.set_ylabel("USD, training included")
        ax.tick_params(length=0, which="both")

    first = points[1.0]
    said = f"Training has paid for itself after {rounded(first)} answers" if first else "Training never pays for itself"
    idle_says = f" A rented device costs the same when it idles: the band reaches to {shares[-1]:.0%} use."
    rings = " Rings mark the break-even points." if known else ""
    return Chart(
        name="volume",
        title="Cost against volume",
        caption=f"{said} at the list price of {one_line(pair[1])}.{idle_says if len(shares) > 1 else ''}{rings}",
        grid=_grid(pair, points, price),
        figure=draw((5.4, 3.5), paint),
    )


def _grid(pair: tuple[str, str], points: dict[float, float | None], price: float) -> Grid:
    """Break-even by the share of device hours that are used."""
    columns = (
        Column(title="device hours used", numeric=False),
        Column(title="$ per 1,000"),
        Column(title="break-even, answers"),
    )
    rows = tuple(
        (
            Cell(text=f"{share:.0%}"),
            Cell(text=money(at_utilisation(price, share))),
            Cell(text=rounded(point) if point else "never"),
        )
        for share, point in points.items()
    )
    return Grid(caption=f"Break-even of {one_line(pair[0])} against {one_line(pair[1])}", columns=columns, rows=rows)


def _name(ax: Axes, text: str, x: float, y: float, colour: str) -> None:
    """Write a curve's name at its end."""
    ax.annotate(text, (x, y), (4, 0), textcoords="offset points", va="center", size=8, color=colour)
