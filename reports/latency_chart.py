"""The distribution of latency: what share of the answers had come after how long."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from harness.runlog import RunLog

from .drawing import INK, Chart, draw, label, looks, scale_axis
from .grid import Cell, Column, Grid
from .visible import one_line
from .words import count, seconds

POINTS = 160
"""Steps of a drawn curve: more than a screen can tell apart, far fewer than rows."""


def probe_times(log: RunLog) -> dict[str, list[float]]:
    """Seconds of service per answer of each backend's probe (one request at a time), shortest first."""
    found = {}
    for name in log.manifest.backends:
        times = sorted(x.timing.service_s for x in log.lines(name, probe=True).values() if x.error is None)
        if times:
            found[name] = times
    return found


def steps(times: Sequence[float]) -> tuple[list[float], list[float]]:
    """The empirical distribution of sorted times as (seconds, share), thinned to at most POINTS steps."""
    n = len(times)
    ranks = range(1, n + 1) if n <= POINTS else [round(1 + k * (n - 1) / (POINTS - 1)) for k in range(POINTS)]
    return [times[r - 1] for r in ranks], [r / n for r in ranks]


def latency(times: Mapping[str, Sequence[float]]) -> Chart | None:
    """One curve per backend; None without a probe. times: as `probe_times` gives them."""
    if not times:
        return None
    seen = looks(list(times))
    how = "one request at a time"

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        for name, values in times.items():
            x, y = steps(values)
            ax.step(
                x, [100 * v for v in y], where="post", color=seen[name].colour, ls=seen[name].dash, label=label(name)
            )
        ax.set_ylim(0, 101)
        ax.set_xlabel(f"seconds until the answer, {how}")
        ax.set_ylabel("% of answers")
        scale_axis(ax.xaxis, [v for values in times.values() for v in (values[0], values[-1])], seconds)
        ax.tick_params(length=0, which="both")
        ax.legend(loc="lower right", labelcolor=INK)

    rows = tuple(
        (Cell(text=one_line(name)), *(Cell(text=seconds(q)) for q in _quantiles(values)), Cell(text=count(len(values))))
        for name, values in times.items()
    )
    headings = ("fastest", "p25", "p50", "p75", "p95", "p99", "slowest", "answers")
    return Chart(
        name="latency",
        title="Distribution of latency",
        caption=f"Share of the answers that had come after so long, {how}; "
        "waiting for a turn and between attempts left out.",
        grid=Grid(
            caption=f"Seconds until the answer, {how}",
            columns=(Column(title="backend", numeric=False), *(Column(title=h) for h in headings)),
            rows=rows,
        ),
        figure=draw((5.4, 3.5), paint),
    )


def _quantiles(times: Sequence[float]) -> list[float]:
    """The smallest time that so large a share of the answers did not exceed."""
    last = len(times) - 1
    return [times[0], *(times[min(last, int(q * len(times)))] for q in (0.25, 0.5, 0.75, 0.95, 0.99)), times[-1]]
