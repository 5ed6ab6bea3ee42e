"""The leaderboard of one run: a row per backend with everything one decides by."""

from harness.confidence_results import CascadeResult
from harness.metrics import Estimate, Metric, title
from harness.records import BackendIdentity
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.results import BackendResult, ConstantAnswer, CostResult, Summary
from harness.summary.candidate_history import model_name
from harness.summary.stored_verdict import by_rank, ranking
from harness.text_format import NOT_APPLICABLE, interval, money, number, plural, rate, seconds, unit
from harness.text_sanitize import visible_line

MAIN = ("accuracy", "macro_f1", "format_error_rate", "lenient_format_error_rate")
"""Metrics of the leaderboard, where a task has them (its headline always comes first)."""


def main_metrics(summary: Summary) -> tuple[Metric, ...]:
    """The headline metric, then the main ones the task has; where it has none of them, its first three."""
    names = [summary.headline, *(n for n in MAIN if n != summary.headline)]
    found = {m.name: m for m in summary.metrics}
    chosen = tuple(found[n] for n in names if n in found)
    return chosen if len(chosen) > 1 else (*chosen, *(m for m in summary.metrics if m not in chosen))[:3]


def rank_cell(shown: str) -> TableCell:
    """ "1", or "1 a" with the letters that it shares with backends from which it does not differ significantly."""
    position = shown.split(" ")[0]
    return TableCell(text=shown, sort=float(position) if position else None, tone="even" if " " in shown else "")


def backend_cell(name: str, result: BackendResult, identity: BackendIdentity | None) -> TableCell:
    """A backend with its model, adapter, and the mark of a model that is or will be shut down."""
    below = [visible_line(model_name(result.model))]
    if result.adapter:
        below.append(f"adapter {visible_line(result.adapter)}")
    if result.contamination_unknown:
        below.append("contamination unknown")
    if identity is not None and identity.retired:
        below.append(f"shut down {visible_line(identity.retired)}")
    return TableCell(text=visible_line(name), below=" · ".join(below), sort=name.casefold())


def figure(metrics: dict[str, Estimate], metric: Metric) -> TableCell:
    """A metric with its interval; where it is undefined, "n/a" and why."""
    found = metrics.get(metric.name)
    if found is None or found.value is None:
        return TableCell(
            text=NOT_APPLICABLE, note="" if found is None else found.method.removeprefix("n/a").strip(" :")
        )
    return TableCell(text=number(found.value, metric), note=interval(found, metric), sort=found.value)


def money_cell(usd: float | None) -> TableCell:
    """USD; "unknown" sorts last."""
    return TableCell(text=money(usd), sort=usd)


def training_cell(result: BackendResult) -> TableCell:
    """What training cost; a model that needed none shows a dash."""
    if result.adapter is None and result.cost.training is None:
        return TableCell(text="-", sort=0.0)
    tried = result.cost.trainings
    return TableCell(
        text=money(result.cost.training),
        note=f"{tried} trainings" if tried > 1 else "",
        sort=result.cost.training,
    )


def latency_cells(result: BackendResult) -> tuple[TableCell, TableCell]:
    """p50 and p95, one request at a time; without a probe there is no latency, only throughput."""
    if result.probe is None:
        return TableCell(text="-"), TableCell(text="-")
    p50, p95 = result.probe.p50_s, result.probe.p95_s
    return TableCell(text=seconds(p50), sort=p50), TableCell(text=seconds(p95), sort=p95)


def heading(metric: Metric) -> TableColumn:
    """A metric's name and unit, with the direction that is better."""
    better = "larger is better" if metric.direction == "higher" else "smaller is better"
    return TableColumn(title=f"{title(metric.name)} {unit(metric)}".rstrip(), hint=better)


def leaderboard(summary: Summary, identities: dict[str, BackendIdentity]) -> Grid:
    """Rank, quality with intervals, latency one at a time, throughput, price; best first."""
    metrics = main_metrics(summary)
    rows = tuple(board_row(summary, name, identities.get(name), metrics) for name in by_rank(summary))
    if summary.cascade is not None:
        rows += (cascade_row(summary.cascade, metrics),)
    if summary.constant is not None:
        rows += (_constant_row(summary.constant, metrics),)
    caption = f"Leaderboard of {plural(summary.rows, 'row')}"
    return Grid(caption=caption, columns=board_columns(metrics), rows=rows, sortable=True)


def board_columns(metrics: tuple[Metric, ...]) -> tuple[TableColumn, ...]:
    """The headings of `board_row`."""
    return (
        TableColumn(title="rank", hint="backends that share a letter show no significant difference"),
        TableColumn(title="backend", numeric=False),
        *map(heading, metrics),
        TableColumn(title="p50", hint="latency, one request at a time: half of the answers came faster"),
        TableColumn(title="p95", hint="latency, one request at a time: 95 % of the answers came faster"),
        TableColumn(title="rows/s", hint="under load"),
        TableColumn(title="$ per 1,000", hint="list price of 1,000 answers"),
        TableColumn(title="training", hint="once"),
        TableColumn(title="decode", numeric=False, hint="how an answer is obtained from the model"),
    )


def board_row(
    summary: Summary, name: str, identity: BackendIdentity | None, metrics: tuple[Metric, ...]
) -> tuple[TableCell, ...]:
    """One backend of one run; a metric that the run does not have is "n/a"."""
    result = summary.backends[name]
    load = result.load.rows_per_s
    return (
        rank_cell(ranking(summary).get(name, "")),
        backend_cell(name, result, identity),
        *(figure(result.metrics, m) for m in metrics),
        *latency_cells(result),
        TableCell(text=rate(load), sort=load),
        money_cell(result.cost.per_1000),
        training_cell(result),
        TableCell(text=result.decode, sort=result.decode),
    )


def cascade_row(result: CascadeResult, metrics: tuple[Metric, ...]) -> tuple[TableCell, ...]:
    """The certified cascade beside the plain candidates: its figure on the rows that certified it."""
    point, dash = result.chosen, TableCell(text="-")
    assert point is not None, "a summary holds certified cascades only"
    names = " > ".join(visible_line(stage.name) for stage in result.stages)
    kept = f"certified; {result.stages[0].name} keeps {100 * point.shares[0]:.0f} %"
    figures = (
        TableCell(text=number(point.value, m), sort=point.value) if m.name == result.metric else dash for m in metrics
    )
    return (
        TableCell(text=""),
        TableCell(text=names, below=visible_line(kept), sort=names.casefold()),
        *figures,
        dash,
        dash,
        dash,
        money_cell(point.cost_per_1000),
        dash,
        TableCell(text="cascade", sort="cascade"),
    )


def constant_name(constant: ConstantAnswer) -> str:
    """ "always 'World'"."""
    return f"always '{visible_line(constant.label, 40)}'"


def _constant_row(constant: ConstantAnswer, metrics: tuple[Metric, ...]) -> tuple[TableCell, ...]:
    """What the most frequent label alone would score: the line that a useful model must beat."""
    figures = (constant.metrics.get(m.name) for m in metrics)
    dash = TableCell(text="-")
    return (
        TableCell(text=""),
        TableCell(text=constant_name(constant), below="the most frequent label", sort="~"),
        *(
            TableCell(text=NOT_APPLICABLE) if f is None else TableCell(text=number(f, m), sort=f)
            for m, f in zip(metrics, figures, strict=True)
        ),
        *(dash,) * 6,
    )


def all_metrics(summary: Summary) -> Grid:
    """Every metric of the task with its interval and the method behind it."""
    figures = {n: summary.backends[n].metrics for n in by_rank(summary)}
    return _metric_grid("All metrics", summary, figures)


def clean_metrics(summary: Summary) -> Grid | None:
    """The metrics without the rows that a backend was trained on; None where there are no such rows."""
    figures = {n: summary.backends[n].clean for n in by_rank(summary) if summary.backends[n].clean}
    return _metric_grid("Without the rows that are in the training rows", summary, figures) if figures else None


def _metric_grid(caption: str, summary: Summary, figures: dict[str, dict[str, Estimate]]) -> Grid:
    columns = (
        TableColumn(title="metric", numeric=False),
        *(TableColumn(title=visible_line(n)) for n in figures),
        TableColumn(title="interval", numeric=False),
    )
    rows = []
    for metric in summary.metrics:
        found = [f[metric.name] for f in figures.values() if metric.name in f]
        methods = dict.fromkeys(e.method for e in found if e.low is not None)
        cells = (figure(f, metric) for f in figures.values())
        rows.append((TableCell(text=heading(metric).title), *cells, TableCell(text="; ".join(methods))))
    return Grid(caption=caption, columns=columns, rows=tuple(rows))


def costs(summary: Summary) -> Grid:
    """Money in full: list price and what was paid, kept apart, and what the figures rest on."""
    columns = (
        TableColumn(title="backend", numeric=False),
        TableColumn(title="$ per 1,000", hint="list price of 1,000 answers"),
        TableColumn(title="list", hint="list price of all answers of this run"),
        TableColumn(title="paid", hint="what this run paid: a cached answer costs nothing"),
        TableColumn(title="training", hint="once"),
        TableColumn(title="prompt tokens"),
        TableColumn(title="of these cached", hint="by the provider"),
        TableColumn(title="answer tokens"),
        TableColumn(title="basis", numeric=False),
    )
    return Grid(
        caption="Cost", columns=columns, rows=tuple(_cost_row(n, summary.backends[n]) for n in by_rank(summary))
    )


def _cost_row(name: str, result: BackendResult) -> tuple[TableCell, ...]:
    cost: CostResult = result.cost
    tokens = (result.usage.get(f"{k}_tokens") for k in ("prompt", "cached", "completion"))
    return (
        TableCell(text=visible_line(name)),
        money_cell(cost.per_1000),
        money_cell(cost.list),
        money_cell(cost.incurred),
        training_cell(result),
        *(TableCell(text="-" if t is None else f"{t:,}") for t in tokens),
        TableCell(text=cost.basis),
    )


def speeds(summary: Summary) -> Grid:
    """Latency one at a time and under load, never mixed; waiting kept apart from working."""
    columns = (
        TableColumn(title="backend", numeric=False),
        TableColumn(title="p50", hint="one request at a time"),
        TableColumn(title="p95", hint="one request at a time"),
        TableColumn(title="first token p50", hint="one request at a time; undefined for choose and head"),
        TableColumn(title="rows/s", hint="under load"),
        TableColumn(title="tokens/s", hint="under load"),
        TableColumn(title="p50 under load", hint="while other requests were in flight"),
        TableColumn(title="p95 under load", hint="while other requests were in flight"),
        TableColumn(title="queue", hint="mean queueing time of a request, in seconds"),
        TableColumn(title="retry wait", hint="seconds spent waiting between attempts, all requests together"),
        TableColumn(title="requests"),
        TableColumn(title="from cache"),
    )
    return Grid(
        caption="Latency and throughput",
        columns=columns,
        rows=tuple(_speed_row(n, summary.backends[n]) for n in by_rank(summary)),
    )


def _speed_row(name: str, result: BackendResult) -> tuple[TableCell, ...]:
    probe, load = result.probe, result.load
    alone = (None, None, None) if probe is None else (probe.p50_s, probe.p95_s, probe.first_token_p50_s)
    busy = (None, None) if load.service is None else (load.service.p50_s, load.service.p95_s)
    return (
        TableCell(text=visible_line(name)),
        *(TableCell(text=seconds(v)) for v in alone),
        TableCell(text=rate(load.rows_per_s)),
        TableCell(text=rate(load.tokens_per_s)),
        *(TableCell(text=seconds(v)) for v in busy),
        TableCell(text=seconds(load.queue_mean_s)),
        TableCell(text=seconds(load.retry_total_s) if load.retry_total_s else "-"),
        TableCell(text=f"{load.attempts:,}"),
        TableCell(text=f"{load.cached:,}"),
    )
