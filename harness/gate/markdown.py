"""The gate as Markdown: for the job summary, and for the one pull-request comment that is updated in place."""

from .records import CheckResult, GateResult
from .untrusted import markdown_cell
from .words import WORDS, bound, change, figure, interval

MARKER = "<!-- bench-gate -->"
"""The comment is found again by this line; it is invisible on the page."""

COMMENT_BYTES = 64_000
SIGNS = {
    "pass": "✅",
    "unchanged": "➖",
    "fail": "❌",
    "inconclusive": "⚠️",
    "incomparable": "⛔",
    "incomplete": "⛔",
    "advisory": "ℹ️",
}


def markdown(result: GateResult) -> str:
    """The whole page, with the marker first; flips and diagnostics are left out where it would pass COMMENT_BYTES."""
    head = [MARKER, f"## {SIGNS[result.verdict]} Bench gate: {markdown_cell(result.headline, 600)}", ""]
    head += _sides(result)
    for line in result.sentences:
        head += [markdown_cell(line, 600), ""]
    if result.resolution:
        head += [markdown_cell(result.resolution, 400), ""]
    head += [f"- {markdown_cell(reason, 600)}" for reason in result.reasons]
    head += [f"- ⚠️ {markdown_cell(warning, 600)}" for warning in result.warnings]
    head += [f"- {markdown_cell(note, 600)}" for note in result.notes]
    parts = ["\n".join([*head, ""]), _checks(result), _diagnostics(result), _flips(result)]
    text = ""
    for part in parts:
        if part and len((text + part).encode()) <= COMMENT_BYTES:
            text += part + "\n"
    return text


def _sides(result: GateResult) -> list[str]:
    lines = []
    for candidate, reference in result.sides:
        pieces = []
        for side in (candidate, reference):
            adapter = f" with {side.adapter}" if side.adapter else ""
            pieces.append(f"**{markdown_cell(side.backend)}** ({markdown_cell(side.model + adapter)}, {side.decode})")
        lines.append(f"{pieces[0]} against {pieces[1]} of {markdown_cell(reference.run or reference.source)}  ")
    return [*lines, ""]


def _checks(result: GateResult) -> str:
    if not result.checks:
        return ""
    levels = " or ".join(f"{100 * level:g}" for level in sorted({check.level for check in result.checks}))
    lines = [
        f"| check | candidate | reference | change [{levels} % interval] | margin or limit | verdict | rows |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    return "\n".join([*lines, *(_check(check) for check in result.checks), ""])


def _check(check: CheckResult) -> str:
    difference = interval(check)
    if check.kind != "absolute":
        difference = f"{change(check, check.difference)} {difference}".strip()
    cells = (
        markdown_cell(check.name),
        figure(check, check.candidate),
        figure(check, check.reference),
        difference.replace("[", "\\["),
        bound(check),
        f"{SIGNS[check.verdict]} {WORDS[check.verdict]}: {markdown_cell(check.sentence, 300)}",
        f"{check.rows:,}",
    )
    return f"| {' | '.join(cells)} |"


def _diagnostics(result: GateResult) -> str:
    if not result.diagnostics:
        return ""
    lines = [
        "<details><summary>By class and slice (not gated)</summary>",
        "",
        "| backend | where | rows | candidate | reference | p, corrected |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for d in result.diagnostics:
        where = f"{markdown_cell(d.column)}: {markdown_cell(d.value)}"
        figures = f"{100 * d.candidate:.2f} % | {100 * d.reference:.2f} % | {d.p_corrected:.3g}"
        lines.append(f"| {markdown_cell(d.backend)} | {where} | {d.rows:,} | {figures} |")
    return "\n".join([*lines, "", "</details>", ""])


def _flips(result: GateResult) -> str:
    if not result.flips:
        return ""
    lines = [
        "<details><summary>Rows that the reference had right and the candidate has wrong (first of them)</summary>",
        "",
        "| row | expected | answered | text |",
        "| --- | --- | --- | --- |",
    ]
    for f in result.flips:
        cells = (f.id, f.expected, f.answered, f.text)
        lines.append("| " + " | ".join(markdown_cell(cell) for cell in cells) + " |")
    return "\n".join([*lines, "", "</details>", ""])
