"""`bench compare A B` as a page: differences with intervals and verdicts, and every row that flipped, either way."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from harness.files import write_whole
from harness.gating.compare_runs import ComparedBackend, RunComparison, RunDifference
from harness.metrics import Metric, title
from harness.reports.compare_table import (
    EVEN,
    by_change,
    metrics_of,
    pairs_by_change,
    short_name,
    side_name,
    statements,
    verdict_word,
)
from harness.reports.explorer_payload import pack
from harness.reports.jinja_env import render
from harness.reports.plot import MUTED, SERIES, Curve, Plot, Rule, label
from harness.reports.row_selection import MOST_ROWS, PARTLY, RIGHT, WRONG, rows_that, select_rows
from harness.reports.row_table import ReportRows
from harness.reports.run_page import SCRIPTS, rows_context
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.results import PairResult
from harness.runs.run_log import RunLog
from harness.summary.candidate_history import model_name
from harness.text_format import count, difference, is_share, number, p_value
from harness.text_sanitize import private_texts, visible, visible_line, without_private


def write_compare(found: RunComparison, a: RunLog, b: RunLog, out: Path, *, redact: bool = False) -> Path:
    """Write the comparison of two runs to `out` and return it. redact: without rows and answers.

    found: as `harness.gating.compare_runs.compare_two_runs` gives it for these two runs.
    """
    metrics = metrics_of(a, found)
    book = None if redact else _joined(found, a, b)
    page = render(
        "compare.html.j2",
        scripts=SCRIPTS[:1] if redact else SCRIPTS,
        found=found,
        statements=statements(found, metrics),
        chart=_chart(found, metrics),
        tables=[_table(found, x, y, metrics) for x, y in by_change(found)],
        sides=_sides(found),
        differences=_differences(found),
        further=_further(found),
        flips=None if book is None else _flips(found, book),
        first_shown="flipped" if book is not None and any(_flipped(book, n) for n in range(len(book))) else "",
        rows=None if book is None else rows_context(book, pack(book, _who(found))),
    )
    if redact:
        runs = [a.manifest, b.manifest, str(a.path.absolute()), str(b.path.absolute())]
        page = without_private(page, private_texts(runs))
    write_whole(out, page.encode())
    return out


def _table(found: RunComparison, x: ComparedBackend, y: ComparedBackend, metrics: Mapping[str, Metric]) -> Grid:
    columns = (
        TableColumn(title="metric", numeric=False),
        TableColumn(title="A"),
        TableColumn(title="B"),
        TableColumn(title="A - B", hint="in points where the metric is a share"),
        TableColumn(title="only A right"),
        TableColumn(title="only B right"),
        TableColumn(title="p after Holm"),
        TableColumn(title="test", numeric=False),
        TableColumn(title="verdict", numeric=False),
    )
    rows = tuple(_row(pair, x, y, metrics[pair.metric]) for pair in pairs_by_change(found, x, y, metrics))
    names = visible_line(short_name("A", x)), visible_line(short_name("B", y))
    return Grid(caption=f"{names[0]} against {names[1]}, the largest change first", columns=columns, rows=rows)


def _row(pair: PairResult, x: ComparedBackend, y: ComparedBackend, metric: Metric) -> tuple[TableCell, ...]:
    value, span = difference(pair, 1, metric)
    return (
        TableCell(text=f"{title(pair.metric)}{' %' if is_share(metric) else ''}"),
        *(TableCell(text=number(side.figures[pair.metric], metric)) for side in (x, y)),
        TableCell(text=value or "n/a", note=span),
        *(TableCell(text="-" if n is None else count(n)) for n in (pair.only_a, pair.only_b)),
        TableCell(text=p_value(pair.p_holm)),
        TableCell(text="; ".join(t for t in (pair.difference.method, pair.p_method) if t)),
        TableCell(text=verdict_word(pair), tone="even" if pair.verdict == EVEN else "good"),
    )


def _chart(found: RunComparison, metrics: Mapping[str, Metric]) -> Chart | None:
    """The differences of all metrics that are shares, on one axis of points."""
    everyone = [p for x, y in by_change(found) for p in pairs_by_change(found, x, y, metrics)]
    pairs = [p for p in everyone if is_share(metrics[p.metric]) and p.difference.value is not None]
    if not pairs:
        return None

    plot, panel = Plot.single(9.5, 0.8 + 0.3 * len(pairs))
    panel.add(Rule(0))
    for y, pair in enumerate(pairs):
        d, even = pair.difference, pair.verdict == EVEN
        colour = MUTED if even else SERIES[0]
        if d.low is not None and d.high is not None:
            panel.whisker((100 * d.low, 100 * d.high), y, colour)
        panel.add(Curve([100 * (d.value or 0.0)], [y], colour, width=0, marker="o", hollow=even))
    names = [title(p.metric) for p in pairs]
    if len(found.sides) > 1:
        sides = {side_name(x): x.backend for x, _ in found.sides}
        names = [f"{label(sides[p.a])}: {n}" for p, n in zip(pairs, names, strict=True)]
    panel.y.list_names(names)
    panel.y.grid = False
    panel.x.label = "A - B, points"
    rows = tuple(
        (
            TableCell(text=title(p.metric)),
            TableCell(text=visible_line(p.a)),
            TableCell(text=visible_line(p.b)),
            *_figures(p, metrics[p.metric]),
        )
        for p in pairs
    )
    columns = (
        *(TableColumn(title=t, numeric=False) for t in ("metric", "A", "B")),
        TableColumn(title="A - B, points"),
        TableColumn(title="verdict", numeric=False),
    )
    return Chart(
        name="differences",
        title="Differences",
        caption="Each point is a difference on the common rows, its line the 95 % interval; hollow and grey where "
        "the difference is not significant.",
        grid=Grid(caption="Differences", columns=columns, rows=rows),
        plot=plot,
    )


def _figures(pair: PairResult, metric: Metric) -> tuple[TableCell, TableCell]:
    value, span = difference(pair, 1, metric)
    return TableCell(text=value, note=span), TableCell(text=verdict_word(pair))


def _joined(found: RunComparison, a: RunLog, b: RunLog) -> ReportRows:
    """The rows that both runs asked in the same words, with the answers of all compared sides; of a large run those
    that `select_rows` finds in `a`."""
    mine, theirs = (dict.fromkeys(side.backend for side in sides) for sides in zip(*found.sides, strict=True))
    selection = select_rows(a, mine)
    one = ReportRows.of(a, mine, selection)
    listed = set(one.ids)
    same = None if b.manifest.rows <= MOST_ROWS else rows_that(b, lambda sample: visible(sample.id) in listed)
    two = ReportRows.of(b, theirs, same)
    there = {identity: n for n, identity in enumerate(two.ids)}
    common = [
        (n, there[identity])
        for n, identity in enumerate(one.ids)
        if identity in there and _same(one, n, two, there[identity])
    ]
    left, right = one.pick([n for n, _ in common]), two.pick([n for _, n in common])
    left.answers = {
        **{_label("A", x): left.answers[x.backend] for x, _ in found.sides},
        **{_label("B", y): right.answers[y.backend] for _, y in found.sides},
    }
    return left.pick(sorted(range(len(left)), key=lambda n: (not _flipped(left, n), n)))


def _same(one: ReportRows, n: int, two: ReportRows, k: int) -> bool:
    frames = one.frames[one.frame_codes[n]], two.frames[two.frame_codes[k]]
    return one.own[n] == two.own[k] and frames[0] == frames[1] and one.references.text(n) == two.references.text(k)


def _who(found: RunComparison) -> dict[str, ComparedBackend]:
    return {_label(letter, side): side for sides in found.sides for letter, side in zip("AB", sides, strict=True)}


def _label(letter: str, side: ComparedBackend) -> str:
    """How the rows call a side: "A · llama-ft"."""
    return f"{letter} · {side.backend}"


def _flipped(book: ReportRows, row: int) -> bool:
    """Whether a row is right for one side and wrong for another."""
    seen = {answers.verdicts[row] for answers in book.answers.values()} & set(SCORED)
    return RIGHT in seen and len(seen) > 1


def _sides(found: RunComparison) -> Grid:
    """A and B: run, backend, model."""
    columns = tuple(TableColumn(title=t, numeric=False) for t in ("", "backend", "model", "decode", "run"))
    rows = tuple(
        (
            TableCell(text=letter),
            *(TableCell(text=visible_line(t)) for t in (s.backend, model_name(s.model), s.decode, s.run)),
        )
        for sides in by_change(found)
        for letter, s in zip("AB", sides, strict=True)
    )
    return Grid(caption="What is compared", columns=columns, rows=rows)


MOST_SETTINGS = 6
"""More settings than this are folded, and so is what differs in the environment."""


def _differences(found: RunComparison) -> Grid | None:
    """What differs besides the answers; None where nothing does that is not folded."""
    shown = [d for d in found.differences if not _folded(found, d)]
    return _difference_grid("What differs", shown, len(found.sides) > 1) if shown else None


def _further(found: RunComparison) -> Grid | None:
    """What is folded: time, commit, versions and hardware, and settings where there are many."""
    shown = [d for d in found.differences if _folded(found, d)]
    return _difference_grid(f"Further differences: {len(shown)}", shown, len(found.sides) > 1) if shown else None


def _folded(found: RunComparison, difference: RunDifference) -> bool:
    many = sum(d.topic == "settings" for d in found.differences) > MOST_SETTINGS
    return difference.topic == "environment" or (difference.topic == "settings" and many)


def _difference_grid(caption: str, differences: list[RunDifference], several: bool) -> Grid:
    names = ("topic", *(("backend",) if several else ()), "what", "A", "B")
    before = [None, *(d.topic for d in differences)]
    rows = tuple(
        tuple(
            TableCell(text=visible_line(text, 120))
            for text in (
                "" if d.topic == last else d.topic,
                *((d.backends or "both",) if several else ()),
                d.name,
                d.a,
                d.b,
            )
        )
        for d, last in zip(differences, before, strict=False)
    )
    return Grid(caption=caption, columns=tuple(TableColumn(title=t, numeric=False) for t in names), rows=rows)


SCORED = (RIGHT, WRONG, PARTLY)


def _flips(found: RunComparison, book: ReportRows) -> Grid | None:
    """How many rows went right to wrong and back, per pair of sides, of those that both answered; None where no
    answer is right or wrong."""
    rows = []
    for x, y in by_change(found):
        mine, theirs = book.answers[_label("A", x)].verdicts, book.answers[_label("B", y)].verdicts
        both = ((m, t) for m, t in zip(mine, theirs, strict=True) if m in SCORED and t in SCORED)
        seen = Counter((m == RIGHT, t == RIGHT) for m, t in both)
        if not seen:
            continue
        cells = (TableCell(text=count(seen[k])) for k in ((True, True), (True, False), (False, True), (False, False)))
        rows.append(
            (TableCell(text=visible_line(short_name("A", x))), TableCell(text=visible_line(short_name("B", y))), *cells)
        )
    if not rows:
        return None
    headings = ("both right", "only A right", "only B right", "neither right")
    return Grid(
        caption="Rows that flipped"
        if book.selection is None
        else f"Rows that flipped, of the {count(len(book))} rows that are listed",
        columns=(*(TableColumn(title=t, numeric=False) for t in ("A", "B")), *(TableColumn(title=h) for h in headings)),
        rows=tuple(rows),
    )
