"""The tables behind the leaderboard: pairs, classes, confusions, format errors, slices."""

from typing import TYPE_CHECKING, NamedTuple

from harness.metrics import Estimate, Metric, title
from harness.records import Record
from harness.reports.leaderboard_rows import figure, heading, main_metrics
from harness.reports.table_model import MOST_COLUMNS, Grid, TableCell, TableColumn
from harness.results import ClassResult, Confusion, PairResult, ServerResult, Summary
from harness.summary.stored_verdict import by_rank
from harness.text_format import count, difference, listing, p_value
from harness.text_sanitize import visible_line

if TYPE_CHECKING:  # the module of votes loads scipy, and few runs have votes
    from harness.judging.votes import Agreement, Preference


MOST_CONFUSIONS = 40
SHORT_LIST = 8
"""Confusions in the list beside a heat map, and beside a matrix."""
FEW_LABELS = 6
"""Labels of a matrix that has room for them written out."""


def pairs(summary: Summary, metrics: tuple[Metric, ...]) -> Grid:
    """Paired tests of these metrics: difference with interval, p as tested and after Holm, rows only one got right."""
    columns = (
        TableColumn(title="metric", numeric=False),
        TableColumn(title="a", numeric=False),
        TableColumn(title="b", numeric=False),
        TableColumn(title="rows", hint="answered by both"),
        TableColumn(title="a - b", hint="in points where the metric is a share"),
        TableColumn(title="only a right"),
        TableColumn(title="only b right"),
        TableColumn(title="p"),
        TableColumn(title="p after Holm", hint="corrected over all pairs of this metric"),
        TableColumn(title="test", numeric=False),
        TableColumn(title="verdict", numeric=False),
    )
    known = {m.name: m for m in metrics}
    rows = tuple(_pair_row(p, known[p.metric]) for p in summary.pairs if p.metric in known)
    caption = f"Paired tests of {listing([title(m.name) for m in metrics])}"
    return Grid(caption=caption, columns=columns, rows=rows, sortable=True)


def _pair_row(pair: PairResult, metric: Metric) -> tuple[TableCell, ...]:
    value, span = difference(pair, 1, metric)
    names = {"a better": pair.a, "b better": pair.b}
    verdict = f"{visible_line(names[pair.verdict])} better" if pair.verdict in names else "no significant difference"
    return (
        TableCell(text=title(pair.metric), sort=pair.metric),
        TableCell(text=visible_line(pair.a), sort=pair.a),
        TableCell(text=visible_line(pair.b), sort=pair.b),
        TableCell(text=count(pair.rows), sort=pair.rows),
        TableCell(text=value or "n/a", note=span, sort=pair.difference.value),
        *(TableCell(text="-" if n is None else count(n), sort=n) for n in (pair.only_a, pair.only_b)),
        _p(pair.p),
        _p(pair.p_holm),
        TableCell(text="; ".join(t for t in (pair.difference.method, pair.p_method) if t), sort=pair.p_method),
        TableCell(text=verdict, sort=verdict, tone="even" if pair.verdict not in names else "good"),
    )


def _p(value: float | None) -> TableCell:
    if value is None:
        return TableCell(text="-")
    return TableCell(text=p_value(value), sort=value)


def classes(summary: Summary) -> Grid | None:
    """Precision, recall and F1 of every label and backend; None for open answers."""
    names = [n for n in by_rank(summary) if summary.backends[n].per_class]
    if not names:
        return None
    fields = any(c.accuracy is not None for n in names for c in summary.backends[n].per_class.values())
    columns = (
        TableColumn(title=unit_of_classes(summary), numeric=False),
        TableColumn(title="backend", numeric=False),
        *(
            [TableColumn(title="accuracy %", hint="rows in which it is right, absent values included")]
            if fields
            else []
        ),
        TableColumn(title="precision %"),
        TableColumn(title="recall %"),
        TableColumn(title="F1 %"),
        TableColumn(title="rows"),
    )
    labels = dict.fromkeys(label for n in names for label in summary.backends[n].per_class)
    rows = [
        _class_row(label, name, summary.backends[name].per_class[label], fields=fields)
        for label in labels
        for name in names
        if label in summary.backends[name].per_class
    ]
    caption = "Per class" if summary_has_labels(summary) else f"Per {unit_of_classes(summary)}"
    return Grid(caption=caption, columns=columns, rows=tuple(rows), sortable=True)


def summary_has_labels(summary: Summary) -> bool:
    """Whether every row has one label: then there is a confusion table."""
    return any(result.confusion is not None for result in summary.backends.values())


def unit_of_classes(summary: Summary) -> str:
    """What the table of classes has a row for: label, field, argument or kind of span."""
    return next((m.unit for m in summary.metrics if m.kind == "counts" and m.unit), "label")


def _class_row(label: str, name: str, found: ClassResult, *, fields: bool) -> tuple[TableCell, ...]:
    shares = (found.precision, found.recall, found.f1)
    return (
        TableCell(text=visible_line(label), sort=label.casefold()),
        TableCell(text=visible_line(name), sort=name.casefold()),
        *([_share(found.accuracy or Estimate(value=None))] if fields else []),
        *(TableCell(text=f"{100 * v:.1f}", sort=v) for v in shares),
        TableCell(text=count(found.support), sort=found.support),
    )


def confusion(name: str, table: Confusion) -> Grid:
    """Rows are references, columns answers; shaded by the share of the row, so that rare labels show too."""
    none = "·" if len(table.labels) > FEW_LABELS else "0"
    columns = (
        TableColumn(title="reference", numeric=False),
        *(TableColumn(title=visible_line(a)) for a in table.answers),
    )
    rows = []
    for label, counts in zip(table.labels, table.counts, strict=True):
        total = sum(counts)
        cells = [
            TableCell(
                text=count(v) if v else none,
                heat=round(9 * v / total) if total and v else None,
                tone="good" if a == label else "",
            )
            for a, v in zip(table.answers, counts, strict=True)
        ]
        rows.append((TableCell(text=visible_line(label)), *cells))
    return Grid(caption=f"What {visible_line(name)} answered", columns=columns, rows=tuple(rows))


def _commonest(name: str, table: Confusion, most: int) -> Grid:
    """Wrong answers by how many rows they have, `most` of them."""
    found = [
        (v, label, answer, v / sum(counts))
        for label, counts in zip(table.labels, table.counts, strict=True)
        for answer, v in zip(table.answers, counts, strict=True)
        if v and answer != label
    ]
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    rows = tuple(
        (
            TableCell(text=visible_line(label), sort=label.casefold()),
            TableCell(text=visible_line(answer), sort=answer.casefold()),
            TableCell(text=count(v), sort=v),
            TableCell(text=f"{100 * share:.1f}", sort=share),
        )
        for v, label, answer, share in found[:most]
    )
    columns = (
        TableColumn(title="reference", numeric=False),
        TableColumn(title="answer", numeric=False),
        TableColumn(title="rows"),
        TableColumn(title="of the reference %"),
    )
    shown = f", the most frequent {len(rows)} of {len(found):,}" if len(found) > len(rows) else ""
    caption = f"What {visible_line(name)} confused{shown}"
    return Grid(caption=caption, columns=columns, rows=rows, sortable=True)


class HeatCell(NamedTuple):
    """One square of a heat map: column, row, its share of the row, and what it stands for ("" on the diagonal)."""

    x: int
    y: int
    share: float
    title: str


class ConfusionView(Record, frozen=True, kw_only=True):
    """How the confusions of one backend are shown.

    matrix: a table of counts; None for more than MOST_COLUMNS labels, of which `squares` are a map of `width` answers
    by `height` references. dense: turned headings, small cells. top: the most frequent confusions; None where a small
    matrix shows them all.
    """

    caption: str
    matrix: Grid | None = None
    dense: bool = False
    squares: tuple[HeatCell, ...] = ()
    width: int = 0
    height: int = 0
    top: Grid | None = None


def confusions(summary: Summary) -> list[ConfusionView]:
    """The confusions of each backend that has some, best first."""
    tables = ((n, summary.backends[n].confusion) for n in by_rank(summary))
    return [_confusion_view(n, table) for n, table in tables if table is not None]


def _confusion_view(name: str, table: Confusion) -> ConfusionView:
    caption = f"What {visible_line(name)} answered"
    labels = len(table.labels)
    if labels <= FEW_LABELS:
        return ConfusionView(caption=caption, matrix=confusion(name, table))
    if labels <= MOST_COLUMNS:
        top = _commonest(name, table, SHORT_LIST)
        return ConfusionView(caption=caption, matrix=confusion(name, table), dense=True, top=top if top.rows else None)
    return ConfusionView(
        caption=f"{caption}: {labels} labels",
        squares=_squares(table),
        width=len(table.answers),
        height=labels,
        top=_commonest(name, table, MOST_CONFUSIONS),
    )


def _squares(table: Confusion) -> tuple[HeatCell, ...]:
    """Every cell that holds rows, as its share of the reference's rows; those off the diagonal are named."""
    found = []
    for y, (label, counts) in enumerate(zip(table.labels, table.counts, strict=True)):
        total = sum(counts)
        for x, (answer, v) in enumerate(zip(table.answers, counts, strict=True)):
            if v:
                words = f"{visible_line(label)} answered as {visible_line(answer)}: {count(v)} of {count(total)}"
                found.append(HeatCell(x, y, v / total, "" if answer == label else words))
    return tuple(found)


def format_errors(summary: Summary) -> Grid | None:
    """Malformed answers by kind; None where nobody made any."""
    names = by_rank(summary)
    kinds = sorted({k for n in names for k in summary.backends[n].format_errors})
    if not kinds:
        return None
    columns = (
        TableColumn(title="kind", numeric=False),
        *(TableColumn(title=visible_line(n), hint=f"decode mode {summary.backends[n].decode}") for n in names),
    )
    rows = []
    for kind in kinds:
        found = [summary.backends[n].format_errors.get(kind, 0) for n in names]
        rows.append(
            (TableCell(text=visible_line(kind)), *(TableCell(text=count(v) if v else "-", sort=v) for v in found))
        )
    return Grid(caption="Format errors by kind (answers)", columns=columns, rows=tuple(rows))


def servers(summary: Summary) -> list[Grid]:
    """The servers of each fleet: share of the answers, time, failed attempts."""
    return [_fleet(name, found) for name in by_rank(summary) if len(found := summary.backends[name].servers) > 1]


def _fleet(name: str, found: dict[str, ServerResult]) -> Grid:
    columns = (
        TableColumn(title="server", numeric=False),
        TableColumn(title="answers"),
        TableColumn(title="share %"),
        TableColumn(title="p50 ms", hint="of a request under load"),
        TableColumn(title="p95 ms"),
        TableColumn(title="failed attempts", hint="sent again, to this or another server"),
    )
    rows = tuple(
        (
            TableCell(text=visible_line(url), sort=url),
            TableCell(text=count(server.answered), sort=server.answered),
            TableCell(text=f"{100 * server.share:.1f}", sort=server.share),
            *(TableCell(text="-" if s is None else f"{1000 * s:.0f}", sort=s) for s in (server.p50_s, server.p95_s)),
            TableCell(text=count(server.failed_attempts), sort=server.failed_attempts),
        )
        for url, server in found.items()
    )
    return Grid(caption=f"Servers of {visible_line(name)}", columns=columns, rows=rows, sortable=True)


def slices(summary: Summary) -> list[Grid]:
    """The main metrics within each value of each column of the data."""
    return [_slice(summary, column) for column in summary.slices]


def _slice(summary: Summary, column: str) -> Grid:
    metrics = main_metrics(summary)
    columns = (
        TableColumn(title=visible_line(column), numeric=False),
        TableColumn(title="backend", numeric=False),
        TableColumn(title="rows"),
        *map(heading, metrics),
    )
    rows = []
    for value, backends in summary.slices[column].items():
        for name in by_rank(summary):
            if name in backends:
                figures = backends[name]
                n = max((e.n for e in figures.values()), default=0)
                rows.append(
                    (
                        TableCell(text=visible_line(value) or "(empty)", sort=value.casefold()),
                        TableCell(text=visible_line(name), sort=name.casefold()),
                        TableCell(text=count(n), sort=n),
                        *(figure(figures, m) for m in metrics),
                    )
                )
    return Grid(caption=f"By {visible_line(column)}", columns=columns, rows=tuple(rows), sortable=True)


def preferences(found: "list[Preference]", agreements: "list[Agreement]") -> list[Grid]:
    """Votes and verdicts on pairs of answers, with a sign test; and how far the judges agree."""
    if not found:
        return []
    rows = tuple(
        (
            TableCell(text=visible_line(p.a)),
            TableCell(text=visible_line(p.b)),
            *(TableCell(text=count(v)) for v in (p.wins_a, p.wins_b, p.ties)),
            _share(p.share),
            _p(p.p if p.p_holm is None else p.p_holm),
            TableCell(text=f"{visible_line(p.verdict)}{f' ({p.no_verdict})' if p.no_verdict else ''}"),
            TableCell(text=", ".join(visible_line(j) for j in p.judges)),
        )
        for p in found
    )
    headings = ("a preferred", "b preferred", "ties", "a among decided %", "p, after Holm")
    names = (TableColumn(title="a", numeric=False), TableColumn(title="b", numeric=False))
    columns = (
        *names,
        *(TableColumn(title=h) for h in headings),
        TableColumn(title="verdict", numeric=False),
        TableColumn(title="judges", numeric=False),
    )
    grids = [
        Grid(
            caption="Which answer is better (rows; a row counts for the answer that more judges preferred)",
            columns=columns,
            rows=rows,
        )
    ]
    if agreements:
        cells = tuple(_agreement(a) for a in agreements)
        titles = ("rows", "same verdict %", "Cohen's kappa")
        judges = tuple(TableColumn(title=t, numeric=False) for t in ("a", "b", "judge", "and"))
        grids.append(
            Grid(
                caption="Agreement of judges",
                columns=(*judges, *(TableColumn(title=t) for t in titles)),
                rows=cells,
            )
        )
    return grids


def _share(share: Estimate) -> TableCell:
    if share.value is None or share.low is None or share.high is None:
        return TableCell(text="n/a")
    return TableCell(text=f"{100 * share.value:.1f}", note=f"[{100 * share.low:.1f}, {100 * share.high:.1f}]")


def _agreement(found: "Agreement") -> tuple[TableCell, ...]:
    kappa = "n/a" if found.kappa is None else f"{found.kappa:.2f}"
    figures = (count(found.rows), f"{100 * found.share:.1f}", kappa)
    names = (found.a, found.b, found.one, found.two)
    return (*(TableCell(text=visible_line(n)) for n in names), *(TableCell(text=f) for f in figures))
