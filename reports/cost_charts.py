"""Charts of quality against price and latency, and of cost against volume."""

from collections.abc import Callable, Mapping

from harness.metrics import Metric, title
from harness.money.break_even import CostQualityPoint, at_utilisation, break_even, pareto, total_cost
from harness.reports.leaderboard_rows import figure as figure_cell
from harness.reports.leaderboard_rows import heading
from harness.reports.plot import DOTTED, INK, MUTED, Band, Curve, Panel, Plot, Words, label, looks
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.results import Summary
from harness.summary.stored_verdict import by_rank, headline_metric, stored_verdict
from harness.text_format import is_share, listing, money, rounded, seconds
from harness.text_sanitize import visible_line


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
    frontier = pareto({n: CostQualityPoint(p.price, sign * p.worth) for n, p in places.items()})
    seen = looks(list(summary.backends))
    scale = 100 if is_share(metric) else 1
    plot, panel = Plot.single(5.4, 3.5)
    panel.add(Curve([places[n].price for n in frontier], [scale * places[n].worth for n in frontier], MUTED, 1, DOTTED))
    for i, (n, place) in enumerate(places.items()):
        found = summary.backends[n].metrics[metric.name]
        x, y, look = place.price, scale * place.worth, seen[n]
        if found.low is not None and found.high is not None:
            panel.add(Curve([x, x], [scale * found.low, scale * found.high], look.colour, 1.8))
        panel.add(Curve([x], [y], look.colour, width=0, marker=look.marker, size=7))
        # labels of neighbours are on different sides of their points
        panel.add(Words(label(n), x, y, shift=(8, -12 if i % 2 else 6)))
    panel.x.label, panel.y.label = axis, heading(metric).title
    panel.x.margin, panel.y.margin = 0.18, 0.12
    panel.x.scale([p.price for p in places.values()], form)
    left_out = [visible_line(n) for n in summary.backends if n not in places]
    note = f" Not shown: {listing(left_out)} ({absent})." if left_out else ""
    rows = tuple(_row(summary, metric, n, form(p.price), n in frontier) for n, p in places.items())
    worth = title(metric.name)
    best = listing([visible_line(n) for n in frontier])
    return Chart(
        name=f"quality-{name}",
        title=f"Quality against {word}",
        caption=f"{worth[0].upper()}{worth[1:]} with its 95 % interval. The dotted line joins those that no other "
        f"beats in both (the Pareto frontier): {best}.{note}",
        grid=Grid(caption=f"Quality against {word}", columns=_columns(axis, metric), rows=rows),
        plot=plot,
    )


def _columns(axis: str, metric: Metric) -> tuple[TableColumn, ...]:
    names = TableColumn(title="backend", numeric=False), TableColumn(title="on the frontier", numeric=False)
    return (names[0], TableColumn(title=axis), heading(metric), names[1])


def _row(summary: Summary, metric: Metric, name: str, price: str, best: bool) -> tuple[TableCell, ...]:
    worth = figure_cell(summary.backends[name].metrics, metric)
    return (TableCell(text=visible_line(name)), TableCell(text=price), worth, TableCell(text="yes" if best else "no"))


def _places(summary: Summary, known: Mapping[str, float | None], metric: Metric) -> dict[str, CostQualityPoint]:
    places = {}
    for name in by_rank(summary):
        found = summary.backends[name].metrics.get(metric.name)
        price = known[name]
        if price is not None and found is not None and found.value is not None:
            places[name] = CostQualityPoint(price, found.value)
    return places


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
    plot, panel = Plot.single(5.4, 3.5)
    busy, idle = (
        [total_cost(training, at_utilisation(price, s), v) or 0.0 for v in volumes] for s in (shares[0], shares[-1])
    )
    panel.add(Curve(volumes, busy, seen[pair[0]].colour, 2.0))
    _name(panel, label(pair[0]), volumes[-1], busy[-1], INK)
    if len(shares) > 1:
        panel.add(Band(volumes, busy, idle, seen[pair[0]].colour, opacity=0.15))
        if idle[-1] > APART * busy[-1]:
            _name(panel, f"used {shares[-1]:.0%}", volumes[-1], idle[-1], MUTED)
    theirs = [total_cost(other.training, rival, v) or 0.0 for v in volumes]
    panel.add(Curve(volumes, theirs, seen[pair[1]].colour, 2.0, seen[pair[1]].dash))
    _name(panel, label(pair[1]), volumes[-1], theirs[-1], INK)
    for point in known:
        at = total_cost(None, rival, point) or 0.0
        panel.add(Curve([point], [at], INK, width=0, marker="o", hollow=True))
    panel.x.scale(volumes, lambda v: f"{v:,.0f}")
    panel.y.scale([min(busy + theirs), max(idle + theirs)], money)
    panel.x.label, panel.y.label = "answers", "USD, training included"

    first = points[1.0]
    said = f"Training breaks even after {rounded(first)} answers" if first else "Training never breaks even"
    idle_says = f" A rented device costs the same when idle: the band reaches to {shares[-1]:.0%} use."
    rings = " Rings mark the break-even points." if known else ""
    return Chart(
        name="volume",
        title="Cost against volume",
        caption=f"{said} at the list price of {visible_line(pair[1])}.{idle_says if len(shares) > 1 else ''}{rings}",
        grid=_grid(pair, points, price),
        plot=plot,
    )


def _grid(pair: tuple[str, str], points: dict[float, float | None], price: float) -> Grid:
    """Break-even by the share of device hours that are used."""
    columns = (
        TableColumn(title="device hours used", numeric=False),
        TableColumn(title="$ per 1,000"),
        TableColumn(title="break-even, answers"),
    )
    rows = tuple(
        (
            TableCell(text=f"{share:.0%}"),
            TableCell(text=money(at_utilisation(price, share))),
            TableCell(text=rounded(point) if point else "never"),
        )
        for share, point in points.items()
    )
    return Grid(
        caption=f"Break-even of {visible_line(pair[0])} against {visible_line(pair[1])}", columns=columns, rows=rows
    )


def _name(panel: Panel, text: str, x: float, y: float, colour: str) -> None:
    """Write a curve's name at its end."""
    panel.add(Words(text, x, y, shift=(4, 0), rise="middle", colour=colour, size=8))
