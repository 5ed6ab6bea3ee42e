"""Tables of a run and of a comparison for the terminal, within 80 columns."""

from collections.abc import Mapping
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.gate.compare_runs import ComparedBackend, Versus
from harness.metrics import Metric, title
from harness.reports.leaderboard_rows import constant_name, latency_cells, training_cell
from harness.reports.verdict_section import answer
from harness.results import PairResult, Summary
from harness.runs.run_log import RunLog
from harness.summary.stored_verdict import NO_DIFFERENCE, by_rank, ranking
from harness.summary.verdict_sentence import verdict_details, verdict_sentence
from harness.summary.verdict_settings import DEFAULT_SOURCE
from harness.text_format import NOT_APPLICABLE, count, difference, estimate, money, number, plural, rate, unit
from harness.text_sanitize import visible_line

SHOWN = 3
CAUTIONS = 6
"""Metrics (the task's first ones) and cautions in the terminal. The HTML report shows all."""


def print_summary(summary: Summary, console: Console) -> None:
    """Print what a run found: one sentence, two tables, the format errors by kind, then the cautions.

    Fits 80 columns; on anything but a terminal it is plain text without control codes.
    """
    said = answer(summary)
    console.print()
    console.print(Text(_where(summary), style="dim"))
    console.print(Text(said.sentence, style="bold"))
    for line in said.details:
        console.print(Text(line))
    console.print()
    console.print(_quality(summary))
    console.print(Text(_legend(summary), style="dim"))
    console.print()
    console.print(_speed(summary))
    console.print()
    for line in _format_errors(summary):
        console.print(Text(line))
    for caution in said.cautions[:CAUTIONS]:
        console.print(Text(f"! {caution}", style="yellow"))
    if len(said.cautions) > CAUTIONS:
        console.print(Text(f"! {len(said.cautions) - CAUTIONS} more in the report", style="yellow"))


def _where(summary: Summary) -> str:
    parts = [summary.task, plural(summary.rows, "row")]
    if summary.repeats > 1:
        parts[-1] += f" x {summary.repeats}"
    label = summary.data.get("label") or summary.data.get("source")
    return " · ".join(visible_line(str(p), 60) for p in (*parts, *([label] if label else []), summary.run))


def new_table() -> Table:
    """A table as narrow as it gets."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), collapse_padding=True)


def _of_backends(first: str) -> Table:
    table = new_table()
    table.add_column(first, justify="left", no_wrap=True)
    table.add_column("backend", overflow="fold", max_width=24)
    return table


def _metrics(summary: Summary) -> tuple[Metric, ...]:
    return summary.metrics[:SHOWN]


def _quality(summary: Summary) -> Table:
    table, ranks = _of_backends("rank"), ranking(summary)
    for metric in _metrics(summary):
        table.add_column(f"{title(metric.name)} {unit(metric)}".rstrip(), justify="right")
    for name in by_rank(summary):
        figures = summary.backends[name].metrics
        cells = [estimate(figures.get(m.name), m) for m in _metrics(summary)]
        table.add_row(ranks.get(name, ""), Text(visible_line(name)), *cells)
    if summary.constant is not None:
        constant = summary.constant.metrics
        cells = [number(constant[m.name], m) if m.name in constant else NOT_APPLICABLE for m in _metrics(summary)]
        table.add_row("", Text(constant_name(summary.constant), style="dim"), *cells)
    return table


def _legend(summary: Summary) -> str:
    """What the brackets are, metric by metric where they differ, and what a shared place means."""
    methods: dict[str, list[str]] = {}
    for metric in _metrics(summary):
        for result in summary.backends.values():
            found = result.metrics.get(metric.name)
            if found is not None and found.low is not None and found.method:
                names = methods.setdefault(found.method, [])
                if title(metric.name) not in names:
                    names.append(title(metric.name))
    said = [f"{', '.join(names)}: {method}" for method, names in methods.items()]
    parts = [f"[low, high] {'; '.join(said)}"] if said else []
    if any(" " in rank for rank in ranking(summary).values()):
        parts.append("same letter: no significant difference")
    return "; ".join(parts)


def _speed(summary: Summary) -> Table:
    table = _of_backends("")
    table.add_column("decode")
    for heading in ("p50", "p95", "rows/s", "$/1,000", "this run", "training"):
        table.add_column(heading, justify="right")
    for name in by_rank(summary):
        result = summary.backends[name]
        p50, p95 = latency_cells(result)
        prices = money(result.cost.per_1000), money(result.cost.incurred), training_cell(result).text
        table.add_row(
            "", Text(visible_line(name)), result.decode, p50.text, p95.text, rate(result.load.rows_per_s), *prices
        )
    return table


def _format_errors(summary: Summary) -> list[str]:
    lines = []
    for name in by_rank(summary):
        kinds = summary.backends[name].format_errors
        if kinds:
            listed = ", ".join(
                f"{visible_line(k)} {count(v)}" for k, v in sorted(kinds.items(), key=lambda i: (-i[1], i[0]))
            )
            lines.append(f"format errors of {visible_line(name)}: {listed}")
    return lines


EVEN = NO_DIFFERENCE


def side_name(side: ComparedBackend) -> str:
    """How a side is called in the pairs: "llama-ft of run-1"."""
    return f"{side.backend} of {side.run}"


def metrics_of(log: RunLog, found: Versus) -> dict[str, Metric]:
    """The compared metrics by name, as the first run's summary knows them."""
    summary = log.summary()
    known = {} if summary is None else {m.name: m for m in summary.metrics}
    return {p.metric: known.get(p.metric, Metric(name=p.metric)) for p in found.pairs}


def pairs_of(found: Versus, x: ComparedBackend, y: ComparedBackend) -> list[PairResult]:
    """The comparisons of two sides, a metric each."""
    return [p for p in found.pairs if (p.a, p.b) == (side_name(x), side_name(y))]


class Statement(NamedTuple):
    """The sentence on two sides, and the lines below it."""

    sentence: str
    details: tuple[str, ...] = ()


def statements(found: Versus, metrics: Mapping[str, Metric]) -> list[Statement]:
    """What is said first of each two sides: the bound of what is lost by taking a for b."""
    by_name = {(v.candidate, v.incumbent): v for v in found.verdicts}
    said = []
    for x, y in found.sides:
        names = side_name(x), side_name(y)
        verdict = by_name.get(names)
        if verdict is None:
            said.append(
                Statement(visible_line(f"{names[0]} and {names[1]}: these rows give no bound on the difference.", 400))
            )
            continue
        metric = metrics.get(verdict.metric) or Metric(name=verdict.metric)
        lines = verdict_details(verdict, metric)
        if said and verdict.margin_source == DEFAULT_SOURCE:  # whose the margin is stands below the first two sides
            lines = lines[:-1]
        details = tuple(visible_line(line, 600) for line in lines)
        said.append(Statement(visible_line(verdict_sentence(verdict, metric), 600), details))
    return said


def verdict_word(pair: PairResult) -> str:
    """The verdict on a pair as it is shown."""
    return "no significant difference" if pair.verdict == EVEN else pair.verdict


def print_versus(found: Versus, log: RunLog, console: Console) -> None:
    """Print a comparison whose first run is `log`: rows, a table for each two sides, then what was left out."""
    metrics = metrics_of(log, found)
    console.print(Text(f"{visible_line(found.task)}: {plural(found.rows, 'row')} in common.", style="dim"))
    for (x, y), said in zip(found.sides, statements(found, metrics), strict=True):
        console.print(Text(f"\n{said.sentence}", style="bold"))
        for line in said.details:
            console.print(Text(line))
        names = (f"{letter} = {side_name(side)} ({side.model})" for letter, side in (("a", x), ("b", y)))
        console.print(Text("\n" + "\n".join(map(visible_line, names))))
        table = new_table()
        table.add_column("metric", overflow="fold", max_width=24)
        for heading in ("a", "b", "a - b, 95 %", "p, Holm"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("")
        for pair in pairs_of(found, x, y):
            table.add_row(*_row(pair, x, y, metrics[pair.metric]))
        console.print(table)
    if any(pair.verdict == EVEN for pair in found.pairs):
        console.print(Text("= no significant difference", style="dim"))
    for note in found.notes:
        console.print(Text(f"! {visible_line(note, 500)}", style="yellow"))


def _row(pair: PairResult, x: ComparedBackend, y: ComparedBackend, metric: Metric) -> tuple[Text, ...]:
    figures = (number(side.figures[pair.metric], metric) for side in (x, y))
    p = "-" if pair.p_holm is None else f"{pair.p_holm:.2g}" if pair.p_holm >= 0.0001 else "< 0.0001"
    verdict = "=" if pair.verdict == EVEN else pair.verdict
    name = f"{title(pair.metric)} {unit(metric)}".rstrip()
    return tuple(map(Text, (name, *figures, " ".join(difference(pair, 1, metric)).strip() or "n/a", p, verdict)))
