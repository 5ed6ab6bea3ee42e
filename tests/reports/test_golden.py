"""The pages and tables of a small stored run, word for word.

After a change that is meant: BENCH_GOLDEN=update python -m pytest tests/reports/test_golden.py, and read the diff.
Pictures are left out (tests/reports/test_plot.py has them), as are our own style and scripts.
"""

import io
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from harness.reports.exports import summary_of, to_csv, to_markdown
from harness.reports.run_page import write_report
from harness.reports.terminal_table import print_summary
from harness.runs.run_log import RunLog

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def stored() -> RunLog:
    """Twelve rows and two backends, as a run directory in this repository."""
    return RunLog.open(GOLDEN / "run")


def agree(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("BENCH_GOLDEN") == "update":
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def test_the_terminal_table(stored: RunLog) -> None:
    out = io.StringIO()
    print_summary(summary_of(stored), Console(file=out, width=80))
    agree("table.txt", "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n")


def test_the_markdown_table(stored: RunLog) -> None:
    agree("report.md", to_markdown(summary_of(stored)))


def test_the_csv_file(stored: RunLog) -> None:
    agree("report.csv", to_csv(summary_of(stored)))


@pytest.mark.parametrize("redact", [False, True])
def test_the_page(stored: RunLog, tmp_path: Path, redact: bool) -> None:
    page = write_report(stored, tmp_path / "r.html", redact=redact).read_text("utf-8")
    page = re.sub(r"<svg .*?</svg>", "<svg/>", page, flags=re.DOTALL)
    page = re.sub(r"<(script|style)([^>]*)>.*?</\1>", r"<\1\2/>", page, flags=re.DOTALL)
    page = re.sub(r"sha256-[^&]*", "sha256-..", page)
    agree("redacted.html" if redact else "report.html", page)
