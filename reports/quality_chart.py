"""Quality against price and against latency, with intervals and the Pareto frontier."""

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from harness.metrics import Metric, title
from harness.money.economics import Place, pareto
from harness.results import Summary
from harness.summary.stored_verdict import by_rank, headline_metric

from .drawing import MUTED, Chart, draw, label, looks, scale_axis
from .grid import Cell, Column, Grid
from .leading import figure as figure_cell
from .leading import heading
from .visible import one_line
from .words import is_share, listing, money, seconds


def against_price(summary: Summary) -> Chart | None:
    """Quality against the price of 1,000 answers; None where fewer than two have a known price."""
    prices = {n: b.cost.per_1000 for n, b in summary.backends.items()}
    return _against(
        summary,
        prices,
        "price",
        "list price of 1,000 answers, USD",
        "price",
        money,
        "its price is unknown",
    )


def against_latency(summary: Summary) -> Chart | None:
    """Quality against the median latency of one request at a time; None without at least two probes."""
    delays = {n: None if b.probe is None else b.probe.p50_s for n, b in summary.backends.items()}
    return _against(
        summary,
        delays,
        "latency",
        "median latency, one request at a time",
        "latency",
        seconds,
        "its latency was not probed",
    )


def _against(
    summary: Summary,
    known: Mapping[str, float | None],
    name: str,
    axis: str,
    word: str,
    form: Callable[[float], str],
    absent: str,
) -> Chart | None:
    metric = headline_metric(summary)
    places = _places(summary, known, metric)
    if len(places) < 2:
        return None
    sign = 1 if metric.direction == "higher" else -1
    frontier = pareto({n: Place(p.price, sign * p.worth) for n, p in places.items()})
    seen = looks(list(summary.backends))
    scale = 100 if is_share(metric) else 1

    def paint(figure: Figure) -> None:
        ax = figure.add_subplot()
        ax.plot(
            [places[n].price for n in frontier], [scale * places[n].worth for n in frontier], color=MUTED, lw=1, ls=":"
        )
        for i, (n, place) in enumerate(places.items()):
            found = summary.backends[n].metrics[metric.name]
            if found.low is not None and found.high is not None:
                ax.plot([place.price] * 2, [scale * found.low, scale * found.high], color=seen[n].colour, lw=1.8)
            ax.plot([place.price], [scale * place.worth], seen[n].marker, color=seen[n].colour, ms=7)
            # names of neighbours stand on different sides of their points
            ax.annotate(
                label(n), (place.price, scale * place.worth), (8, -12 if i % 2 else 6), textcoords="offset points"
            )
        ax.margins(x=0.18, y=0.12)
        ax.set_xlabel(axis)
        ax.set_ylabel(heading(metric).title)
        scale_axis(ax.xaxis, [p.price for p in places.values()], form)
        ax.tick_params(length=0, which="both")

    left_out = [one_line(n) for n in summary.backends if n not in places]
    note = f" Not shown: {listing(left_out)} ({absent})." if left_out else ""
    rows = tuple(_row(summary, metric, n, form(p.price), n in frontier) for n, p in places.items())
    worth = title(metric.name)
    best = listing([one_line(n) for n in frontier])
    return Chart(
        name=f"quality-{name}",
        title=f"Quality against {word}",
        caption=f"{worth[0].upper()}{worth[1:]} with its 95 % interval. The dotted line joins those that no other "
        f"beats in both (the Pareto frontier): {best}.{note}",
        grid=Grid(caption=f"Quality against {word}", columns=_columns(axis, metric), rows=rows),
        figure=draw((5.4, 3.5), paint),
    )


def _columns(axis: str, metric: Metric) -> tuple[Column, ...]:
    names = Column(title="backend", numeric=False), Column(title="on the frontier", numeric=False)
    return (names[0], Column(title=axis), heading(metric), names[1])


def _row(summary: Summary, metric: Metric, name: str, price: str, best: bool) -> tuple[Cell, ...]:
    worth = figure_cell(summary.backends[name].metrics, metric)
    return (Cell(text=one_line(name)), Cell(text=price), worth, Cell(text="yes" if best else "no"))


def _places(summary: Summary, known: Mapping[str, float | None], metric: Metric) -> dict[str, Place]:
    places = {}
    for name in by_rank(summary):
        found = summary.backends[name].metrics.get(metric.name)
        price = known[name]
        if price is not None and found is not None and found.value is not None:
            places[name] = Place(price, found.value)
    return places
