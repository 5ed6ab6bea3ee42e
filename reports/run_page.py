"""The report of one run: a single HTML file; its charts as files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.data.contamination import read_findings
from harness.data.leakage_groups import RowGroupsBuilder
from harness.deployment.parity_result import read_parity
from harness.files import write_whole
from harness.judging.answer_pairs import JUDGEMENTS, read_judgements
from harness.reports import (
    calibration_section,
    cascade_section,
    cascade_sentence,
    detail_tables,
    leaderboard_rows,
    methods_section,
)
from harness.reports.cost_charts import against_latency, against_price, volume
from harness.reports.explorer_payload import ExplorerPayload, pack
from harness.reports.exports import summary_of
from harness.reports.jinja_env import render
from harness.reports.parity_page import facts, metrics_table
from harness.reports.row_selection import select_rows
from harness.reports.row_table import (
    Frame,
    ReportRows,
    common_pieces,
    most_frequent,
    redacted,
    shown,
    split,
    wrong_answers,
)
from harness.reports.run_charts import confusion, format_errors, intervals, latency, probe_times
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid
from harness.reports.verdict_section import rank_warnings, verdict_card, verdict_section
from harness.results import Summary
from harness.runs.run_log import RunLog
from harness.summary.stored_verdict import by_rank, headline_metric, stored_verdict
from harness.text_sanitize import private_texts, without_private

SCRIPTS = ("verdict.js", "tables.js", "diff.js", "explorer.js")


def write_report(log: RunLog, out: Path, *, redact: bool = False) -> Path:
    """Write the report of a run to `out` and return it. Reports are deterministic: the same run gives the same bytes.

    redact: leave out every row, answer and row text, and addresses and paths of this machine; aggregates, prompts
    without the rows' texts, and hashes stay.
    Raises IncompleteRunError for a run without summary.
    """
    summary = summary_of(log)
    page = render("report.html.j2", scripts=SCRIPTS[:2] if redact else SCRIPTS, **_context(log, summary, redact))
    if redact:
        page = without_private(page, private_texts([log.manifest, str(log.path.absolute())]))
    write_whole(out, page.encode())
    return out


def charts(log: RunLog, summary: Summary) -> list[Chart]:
    """All charts of a run for which it has the figures."""
    times = probe_times(log)
    rented = {n for n, i in log.manifest.backends.items() if i.device_hour_usd is not None}
    drawn = (
        intervals(summary),
        against_price(summary),
        against_latency(summary),
        volume(summary, rented),
        latency(times),
        format_errors(summary),
    )
    return [chart for chart in drawn if chart is not None]


def _context(log: RunLog, summary: Summary, redact: bool) -> dict[str, Any]:
    identities = log.manifest.backends
    deciding, verdict = headline_metric(summary), stored_verdict(summary)
    others = tuple(m for m in summary.metrics if m.name != deciding.name)
    parity = read_parity(log.path)
    book = None if redact else ReportRows.of(log, by_rank(summary), select_rows(log, by_rank(summary)))
    parts = _parts(log, book)
    prompts, kinds = most_frequent(parts)
    return {
        "summary": summary,
        "said": verdict_section(summary),
        "card": None if verdict is None else verdict_card(summary, verdict, deciding),
        "warnings": rank_warnings(verdict_section(summary).cautions, verdict),
        "leaderboard": leaderboard_rows.leaderboard(summary, identities),
        "metrics": leaderboard_rows.all_metrics(summary),
        "clean": leaderboard_rows.clean_metrics(summary),
        "pairs": detail_tables.pairs(summary, (deciding,)),
        "other_pairs": detail_tables.pairs(summary, others) if others else None,
        "charts": charts(log, summary),
        "classes": detail_tables.classes(summary),
        "confusions": detail_tables.confusions(summary),
        "formats": detail_tables.format_errors(summary),
        "speeds": leaderboard_rows.speeds(summary),
        "costs": leaderboard_rows.costs(summary),
        "servers": detail_tables.servers(summary),
        "slices": detail_tables.slices(summary),
        "preferences": _preferences(log),
        "prompts": [(shown(f, None if redact else own), n) for f, own, n in prompts],
        "prompt_kinds": kinds,
        "facts": methods_section.provenance(log.manifest, summary),
        "identities": [(n, methods_section.identity_facts(i, summary, n)) for n, i in identities.items()],
        "formulae": methods_section.formulae(summary),
        "rows": None if book is None else _rows(log, summary, book),
        "calibration": _calibration(summary),
        "cascade": _cascade(summary),
        "parity": None
        if parity is None
        else {"result": parity, "metrics": metrics_table(parity), "facts": facts(parity)},
    }


def _calibration(summary: Summary) -> dict[str, Any] | None:
    """What the section on confidences shows; None where no backend gives one."""
    found = calibration_section.calibrations(summary)
    if not found:
        return None
    return {
        "grid": calibration_section.calibration_grid(found),
        "charts": calibration_section.calibration_charts(summary),
        "cautions": calibration_section.calibration_cautions(found),
    }


def _cascade(summary: Summary) -> dict[str, Any] | None:
    """What the section on the best certified cascade shows; None where none is certified."""
    result = summary.cascade
    if result is None:
        return None
    metric = next(m for m in summary.metrics if m.name == result.metric)
    return {
        "sentence": cascade_sentence.cascade_sentence(result, metric),
        "details": cascade_sentence.cascade_details(result, metric),
        "chart": cascade_section.cascade_chart(result, metric),
    }


def _parts(log: RunLog, book: ReportRows | None) -> Iterable[tuple[Frame, list[str]]]:
    """Every row's frame and own texts; for sharing (`book` is None) without what might be a row's."""
    if book is None:
        return _shareable(log)
    return book.parts() if book.selection is None else (split(row.request) for row in log.rows())


def _shareable(log: RunLog) -> Iterator[tuple[Frame, list[str]]]:
    """Every row's frame without what might be a row's, as a redacted report shows it."""
    common = common_pieces(split(row.request)[0] for row in log.rows())
    shots = log.manifest.shots > 0
    return ((redacted(split(row.request)[0], common, shots), []) for row in log.rows())


def _preferences(log: RunLog) -> list[Grid]:
    if not (log.path / JUDGEMENTS).is_file():
        return []
    from harness.judging.votes import (  # loads scipy, which takes longer than a report of 1,000 rows
        agreements,
        preferences,
    )

    judged, builder = read_judgements(log.path), RowGroupsBuilder()
    for row in log.rows():
        builder.add(row.sample)
    codes = builder.build().codes
    groups = {} if codes is None else {n: str(code) for n, code in enumerate(codes.tolist())}
    return detail_tables.preferences(preferences(judged, groups), agreements(judged))


def _rows(log: RunLog, summary: Summary, book: ReportRows) -> dict[str, Any]:
    overlaps = read_findings(log.path).overlaps
    learned = {name: list(found.rows) for name, found in overlaps.items() if name in book.answers}
    parity = read_parity(log.path)
    apart = {parity.served.backend: list(parity.different_rows)} if parity is not None else {}
    if book.selection is not None:
        places = book.selection.places()
        learned, apart = (
            {name: [places[n] for n in rows if n in places] for name, rows in marked.items()}
            for marked in (learned, apart)
        )
    return rows_context(book, pack(book, summary.backends, learned, apart))


def rows_context(book: ReportRows, packed: ExplorerPayload) -> dict[str, Any]:
    """What the templates of the rows need: the packed data, and the static list of wrong answers."""
    wrong, total = wrong_answers(book)
    return {"packed": packed, "data": Markup(packed.data), "wrong": wrong, "total": total}  # data: base64 only


def write_plots(log: RunLog, folder: Path) -> list[Path]:
    """Write each picture as SVG and PNG and say where; confusion matrices are pictures here, tables on the page."""
    summary = summary_of(log)
    drawn = [*charts(log, summary), *(c for n in by_rank(summary) if (c := confusion(summary, n)) is not None)]
    from harness.reports.chart_files import save  # matplotlib, which pages do without

    return [path for chart in drawn for path in save(chart, folder)]
