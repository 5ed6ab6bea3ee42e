"""The gate's result as text, Markdown, JUnit XML and GitHub annotations."""

import xml.etree.ElementTree as ET

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.gating.formatting import SCOPES, bound, change, figure, interval
from harness.gating.gate_result import WORDS, CheckResult, GateResult
from harness.text_sanitize import markdown_cell, one_line, workflow_message, workflow_property, xml_text

STYLES = {"pass": "green", "unchanged": "cyan", "fail": "bold red", "inconclusive": "yellow", "advisory": "dim"}


def show(result: GateResult, console: Console) -> None:
    """What was compared, what the rows resolve, every check, and the verdict last."""
    for candidate, reference in result.sides:
        pair = f"{_who(candidate.backend, candidate.model)} against {_who(reference.backend, reference.model)}"
        console.print(Text(f"{pair} of {one_line(reference.run or reference.source, 120)}"))
    for line in result.sentences:
        console.print(Text(one_line(line, 600), style="bold"))
    if result.resolution:
        console.print(Text(result.resolution))
    if result.checks:
        console.print(_table(result))
    for line in (*result.reasons[1:], *result.warnings):  # the headline is the first reason
        console.print(Text(f"! {one_line(line, 400)}", style="yellow"))
    for line in result.notes:
        console.print(Text(one_line(line, 400), style="dim"))
    if result.verdict == "inconclusive" and result.exit_code == 0:
        console.print(
            Text("exit code 0: what is inconclusive does not block, unless --on-inconclusive block.", style="dim")
        )
    style = STYLES.get(result.verdict, "bold red")
    console.print(Text(one_line(result.headline, 600), style=style))


def _who(backend: str, model: str) -> str:
    return f"{one_line(backend, 60)} ({one_line(model, 80)})"


def _table(result: GateResult) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("finding")
    several = len({check.backend for check in result.checks}) > 1
    for check in result.checks:
        name = f"{check.backend}: {check.metric}" if several else check.metric
        name += SCOPES[check.scope]
        table.add_row(
            Text(WORDS[check.verdict], style=STYLES.get(check.verdict, "bold red")),
            Text(one_line(name, 60)),
            Text(_finding(check)),
        )
    return table


def _finding(check: CheckResult) -> str:
    """Both figures before the sentence, where there are two."""
    if check.candidate is None or check.reference is None:
        return check.sentence
    return f"{figure(check, check.candidate)}, reference {figure(check, check.reference)}: {check.sentence}"


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
        figures = f"{100 * d.candidate:.1f} % | {100 * d.reference:.1f} % | {d.p_corrected:.3g}"
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


SKIPPED = ("inconclusive", "unchanged", "advisory")


def junit_xml(result: GateResult) -> bytes:
    """fail -> failure; incomparable or no verdict -> error; inconclusive, unchanged and advice -> skipped. UTF-8.

    Warnings and notes are in the suite's `system-out`.
    """
    cases: list[tuple[str, str, str, str]] = [
        (check.name, check.backend, check.verdict, check.sentence) for check in result.checks
    ]
    if result.reasons or not cases:
        cases = [("gate", result.task, result.verdict, " ".join(result.reasons) or result.headline)]
    verdicts = [verdict for _, _, verdict, _ in cases]
    suite = ET.Element(
        "testsuite",
        name=xml_text(f"bench gate: {result.task}"),
        tests=str(len(cases)),
        failures=str(verdicts.count("fail")),
        errors=str(sum(v in ("incomparable", "incomplete") for v in verdicts)),
        skipped=str(sum(v in SKIPPED for v in verdicts)),
    )
    kinds = {"fail": "failure", **dict.fromkeys(SKIPPED, "skipped")}
    for name, where, verdict, sentence in cases:
        case = ET.SubElement(suite, "testcase", name=xml_text(name), classname=xml_text(f"bench.{where}"))
        if verdict != "pass":
            text = xml_text(f"{WORDS[verdict]}: {sentence}")
            ET.SubElement(case, kinds.get(verdict, "error"), message=text).text = text
    if result.warnings or result.notes:
        ET.SubElement(suite, "system-out").text = xml_text("\n".join((*result.warnings, *result.notes)))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


LEVELS = {
    "fail": "error",
    "incomparable": "error",
    "incomplete": "error",
    "inconclusive": "warning",
    "unchanged": "notice",
}


def annotations(result: GateResult) -> list[str]:
    """One line a check that did not pass; one for the gate where it gave no verdict."""
    lines = [_command(LEVELS[result.verdict], "Bench gate", reason) for reason in result.reasons]
    lines += [_command(LEVELS[c.verdict], c.name, c.sentence) for c in result.checks if c.verdict in LEVELS]
    lines += [_command("warning", "Bench gate", warning) for warning in result.warnings]
    return lines + [_command("notice", "Bench gate", note) for note in result.notes]


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={workflow_property(title)}::{workflow_message(message)}"
