"""What CI shows: Markdown, JUnit, annotations. Model output in them is hostile."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from harness.gating.ci_outputs import COMMENT_BYTES, MARKER, annotations, junit_xml, markdown
from harness.gating.formatting import sentence
from harness.gating.gate_result import CheckResult, Diagnostic, Flip, GateResult
from harness.records import BackendIdentity
from harness.text_sanitize import markdown_cell, one_line, xml_text
from tests.gate.building import ROWS, judged, right_but, runs, shifted

EVIL = [
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "[click](javascript:alert(1)) ![x](http://evil.example/pixel.png)",
    "]]> <!-- --> | @everyone `rm -rf` #1 **bold** ~~gone~~",
    "null\x00 bell\x07 line\u2028separator \u202eright-to-left zero\u200bwidth",
    "lone \ud800 surrogate \uffff",
    "::error title=x::injected\n::stop-commands::x",
]


Verdict = Literal["pass", "fail", "inconclusive", "incomparable", "advisory"]


def _check(
    verdict: Verdict = "fail", name: str = "a: accuracy against the reference", text: str = "worse"
) -> CheckResult:
    return CheckResult(
        name=name, backend="a", metric="accuracy", kind="paired", verdict=verdict, candidate=0.8, reference=0.9,
        difference=-0.1, low=-0.12, high=-0.08, margin=0.02, rows=1000, sentence=text,
    )  # fmt: skip


def _result(*checks: CheckResult, flips: tuple[Flip, ...] = (), **fields: object) -> GateResult:
    return GateResult(verdict="fail", exit_code=1, task="topics", rows=1000, checks=checks, flips=flips, **fields)  # type: ignore[arg-type]


def _flip(text: str) -> Flip:
    return Flip(backend="a", id="1f", expected="World", answered=text, text=text)


def test_figures_are_written_as_in_every_table_unless_a_bound_would_read_like_its_margin() -> None:
    def finding(low: float, **changes: Any) -> str:
        fields = {
            "unit": "points",
            "candidate": 0.9667,
            "difference": 0.0167,
            "low": low,
            "high": 0.0911,
            "sentence": "",
            **changes,
        }
        return sentence(msgspec.structs.replace(_check(), verdict="pass", **fields)).sentence

    assert finding(-0.0541) == "+1.7 [-5.4, 9.1] against a margin of 2 points."
    assert finding(-0.01996) == "+1.67 [-2.00, 9.11] against a margin of 2 points."
    rate = {"kind": "absolute", "metric": "format_error_rate", "margin": None, "limit": 0.02, "candidate": 0.0}
    assert finding(0.0, high=0.0295, **rate) == "0.0 [0.0, 2.9] % against a limit of 2.0 %."
    price = {"kind": "ratio", "metric": "cost_per_1000", "unit": "", "margin": None, "limit": 0.5, "candidate": 0.034}
    shown = finding(0.08, high=0.09, **price)
    assert shown == "$0.034 [x 0.08, x 0.09] against a limit of x 0.5."


@pytest.mark.parametrize("text", EVIL)
def test_model_output_stays_text_in_markdown(text: str) -> None:
    page = markdown(_result(_check(text=text), flips=(_flip(text),), headline=text, warnings=(text,)))
    page.encode("utf-8")
    for forbidden in ("<img", "<script", "](", "http://", "@everyone", "\x00", "\u202e", "\u2028", "\u200b", "-->\n|"):
        assert forbidden not in page.replace(MARKER, "")
    assert "\n::" not in page
    rows = [line for line in page.splitlines() if line.startswith("| 1f")]
    assert len(rows) == 1 and rows[0].count("|") == 5


@pytest.mark.parametrize("text", EVIL)
def test_junit_is_xml_whatever_a_model_wrote(text: str) -> None:
    root = ET.fromstring(junit_xml(_result(_check(text=text, name=f"a: {text}"), _check("pass"))))
    suite = root.find("testsuite")
    assert suite is not None and suite.get("tests") == "2" and suite.get("failures") == "1"
    failure = suite.find("testcase/failure")
    assert failure is not None and failure.text is not None and failure.text.startswith("FAIL: ")


@pytest.mark.parametrize("text", EVIL)
def test_an_annotation_is_one_line_and_one_command(text: str) -> None:
    for line in annotations(_result(_check(text=text, name=text), warnings=(text,))):
        assert "\n" not in line and "\r" not in line
        assert line.startswith(("::error title=", "::warning title="))
        title = line.split("title=", 1)[1].split("::", 1)[0]
        assert ":" not in title and "," not in title


def test_the_verdicts_are_counted_as_junit_readers_expect() -> None:
    verdicts: tuple[Verdict, ...] = ("pass", "fail", "inconclusive", "advisory", "incomparable")
    checks = [_check(v) for v in verdicts]
    suite = ET.fromstring(junit_xml(_result(*checks))).find("testsuite")
    assert suite is not None
    counts = [suite.get(kind) for kind in ("tests", "failures", "skipped", "errors")]
    assert counts == ["5", "1", "2", "1"]


def test_a_gate_without_checks_is_one_error_in_junit() -> None:
    refused = GateResult(verdict="incomparable", exit_code=4, task="t", reasons=("the prompts differ.",))
    suite = ET.fromstring(junit_xml(refused)).find("testsuite")
    assert suite is not None and suite.get("errors") == "1"
    assert suite.find("testcase/error") is not None


def test_the_comment_stays_below_the_limit_and_keeps_verdict_and_checks() -> None:
    crowd = tuple(
        Diagnostic(backend="a", column="class", value="x" * 200, rows=1, candidate=0, reference=0, p=1, p_corrected=1)
        for _ in range(1000)
    )
    page = markdown(_result(_check(), flips=tuple(_flip("word " * 60) for _ in range(10)), diagnostics=crowd))
    assert len(page.encode()) <= COMMENT_BYTES
    assert page.startswith(MARKER)
    assert "a: accuracy against the reference" in page
    assert "not gated" not in page and "expected | answered" in page


def test_the_page_of_a_real_gate_names_everything_once(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*range(1, ROWS, 10), *range(2, ROWS, 10)))
    result = judged(tmp_path, run, baseline)
    page = markdown(result)
    assert page.count(MARKER) == 1
    assert "❌ Bench gate: FAIL: a: accuracy against the reference: -10.0 \\[-" in page
    assert "| 80.0 % | 90.0 % |" in page
    assert "2 points" in page and "1,500" in page
    assert markdown(result) == page
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result


def test_a_warning_of_an_inconclusive_gate_is_an_annotation(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(5, 15, 25, 35, 45, 55), rows=60)
    lines = annotations(judged(tmp_path, run, baseline))
    assert (
        len([line for line in lines if line.startswith("::warning title=a%3A accuracy against the reference::")]) == 1
    )


def test_a_passing_gate_annotates_nothing(tmp_path: Path) -> None:
    asked = {"a": BackendIdentity(kind="openai", model="a-1", decode="generate")}
    run, baseline = runs(tmp_path, right_but(*shifted()), identities=asked)
    table = {"accuracy": {"margin": 0.02}, "format_error_rate": {"margin": 0.01}}
    assert annotations(judged(tmp_path, run, baseline, table=table)) == []


def test_small_rules_of_untrusted_text() -> None:
    assert one_line("a\n b\t c", 10) == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert xml_text("a\x00b\ud800") == "a\ufffdb\ufffd"
    assert markdown_cell("a|b<c>@d") == "a&#124;b&lt;c&gt;&#64;d"
