"""The summary for other tools: JSON, CSV with one figure per line, Markdown."""

import csv
import io
import re
from collections.abc import Iterator

import msgspec

from harness.errors import IncompleteRunError, UsageError
from harness.reports.leaderboard_rows import all_metrics, leaderboard
from harness.reports.table_model import Grid, TableCell
from harness.reports.verdict_section import verdict_section
from harness.results import BackendResult, Summary
from harness.runs.run_log import RunLog
from harness.summary.stored_verdict import by_rank
from harness.text_sanitize import visible, visible_line

HEADER = ("run", "task", "backend", "model", "decode", "figure", "value", "low", "high", "method", "n")


def to_json(summary: Summary) -> str:
    """`summary.json`, indented."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=2).decode() + "\n"


def escape_formula(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula: a leading = + - @ (or tab) gets an apostrophe before it."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(("=", "+", "-", "@")) or shown.startswith("\t") else shown


def to_csv(summary: Summary) -> str:
    """One line per backend and figure; unknown and undefined figures are empty, never 0."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    for name in by_rank(summary):
        result = summary.backends[name]
        who = [escape_formula(t) for t in (summary.run, summary.task, name, result.model, result.decode)]
        for figure, value, low, high, method, n in _figures(result):
            writer.writerow(
                [*who, escape_formula(figure), _number(value), _number(low), _number(high), escape_formula(method), n]
            )
    return out.getvalue()


Figure = tuple[str, float | None, float | None, float | None, str, int | str]


def _figures(result: BackendResult) -> Iterator[Figure]:
    for name, e in result.metrics.items():
        yield name, e.value, e.low, e.high, e.method, e.n
    probe, load, cost = result.probe, result.load, result.cost
    if probe is not None:
        yield "latency_p50_s", probe.p50_s, None, None, "one request at a time", probe.rows
        yield "latency_p95_s", probe.p95_s, None, None, "one request at a time", probe.rows
    yield "rows_per_s", load.rows_per_s, None, None, "under load", ""
    yield "cost_per_1000_usd", cost.per_1000, None, None, cost.basis, ""
    yield "cost_incurred_usd", cost.incurred, None, None, cost.basis, ""
    yield "cost_training_usd", cost.training, None, None, cost.basis, ""
    calibration = result.calibration
    if calibration is not None:
        for name, e in (("error", calibration.error), ("brier", calibration.brier), ("log_loss", calibration.log_loss)):
            yield f"calibration_{name}", e.value, e.low, e.high, f"{calibration.source}; {e.method}", e.n
        yield "aurc", calibration.aurc, None, None, calibration.source, calibration.rows
    for kind, n in sorted(result.format_errors.items()):
        yield f"format_errors: {kind}", n, None, None, "count", result.answered
    for kind, n in sorted(result.errors.items()):
        yield f"errors: {kind}", n, None, None, "count", result.asked


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


_MARKDOWN = re.compile(r"([\\`*_\[\]|~>])")


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is: no link, tag, mention, table cell or emphasis."""
    escaped = _MARKDOWN.sub(r"\\\1", visible_line(text, 500)).replace("&", "&amp;").replace("<", "&lt;")
    return escaped.replace("@", "@\u2060")  # a word joiner: GitHub would notify a user of that name


def _figure(cell: TableCell) -> str:
    return " ".join(markdown_text(part) for part in (cell.text, cell.note) if part)


def markdown_table(grid: Grid) -> str:
    """A table as GitHub shows it; the lines below a figure are left out."""
    lines = ["| " + " | ".join(markdown_text(c.title) for c in grid.columns) + " |"]
    lines.append("|" + "|".join(" ---: " if c.numeric else " --- " for c in grid.columns) + "|")
    lines += ["| " + " | ".join(_figure(cell) for cell in row) + " |" for row in grid.rows]
    return "\n".join(lines)


def to_markdown(summary: Summary) -> str:
    """The sentence, the cautions and the two tables that decide, as GitHub shows them."""
    said = verdict_section(summary)
    parts = [f"**{markdown_text(said.sentence)}**"]
    if said.details:
        parts.append("  \n".join(markdown_text(line) for line in said.details))
    if said.cautions:
        parts.append("\n".join(f"- {markdown_text(c)}" for c in said.cautions))
    parts += [markdown_table(leaderboard(summary, {})), markdown_table(all_metrics(summary))]
    parts.append("Brackets are 95 % intervals; backends that share a letter show no significant difference.")
    return "\n\n".join(parts) + "\n"


EXPORTS = {".json": to_json, ".csv": to_csv, ".md": to_markdown}


def _or(choices: list[str]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def export(summary: Summary, suffix: str) -> str:
    """The summary in the format that a file name's suffix stands for. Raises UsageError for any other."""
    found = EXPORTS.get(suffix.lower())
    if found is None:
        what = f"'{suffix}' files" if suffix else "a file without a suffix"
        raise UsageError(f"cannot write {what}: --out takes a name that ends in {_or(['.html', *EXPORTS])}.")
    return found(summary)


def summary_of(log: RunLog) -> Summary:
    """The summary of a run. Raises IncompleteRunError where it has none yet."""
    found = log.summary()
    if found is None:
        raise IncompleteRunError(
            f"{log.path} has no summary yet: finish it with `bench run --resume {log.path}` first."
        )
    return found
