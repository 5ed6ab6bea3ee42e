"""Runs that are nothing like the usual one still get a report: one backend, no answer, open answers, repeats."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.metrics import CLASSIFICATION, FORMAT_ERROR_RATE, Metric
from harness.records import BackendIdentity, Completion, Failure, Message, Request, Sample, Score
from harness.reports.exports import to_csv, to_markdown
from harness.reports.row_selection import PARTLY
from harness.reports.row_table import ReportRows
from harness.reports.run_page import write_report
from harness.reports.terminal_table import print_summary
from harness.runs.run_log import Manifest, RunLog
from harness.summary.summarise import summarise
from tests.support.synthetic_run import MAKERS, synthetic_run

WORDS = Metric(name="words", row_value="words", proportion=False)


def open_run(folder: Path, backends: int, repeats: int = 1, fails: bool = False, rows: int = 6) -> RunLog:
    """Rows without labels or passages; every third answer is malformed."""
    names = [f"model-{i}" for i in range(backends)]
    samples = [Sample.of({"q": f"Question {n}?"}, f"Reference {n}\nof two lines", "test") for n in range(rows)]
    manifest = Manifest(
        id="open", task="open", task_spec="open", parser="1", rows=len(samples), repeats=repeats,
        backends={n: BackendIdentity(kind="openai", model="m", decode="generate") for n in names},
    )  # fmt: skip
    requests = (Request(id=s.id, messages=(Message(role="user", content=s.inputs["q"]),)) for s in samples)
    log = RunLog.create(folder, manifest, zip(samples, requests, strict=True))
    for k, name in enumerate(names):
        with log.writer(name) as writer:
            for n, sample in enumerate(samples):
                for repeat in range(repeats):
                    if fails:
                        failure = Failure(kind="connection", message="refused")
                        writer.append(n, Completion(id=sample.id, repeat=repeat, error=failure), None)
                        continue
                    answer = Completion(id=sample.id, repeat=repeat, text=f"Answer {n} {k}", finish="stop")
                    correct = (n + repeat) % 2 == 0 if repeats > 1 else None
                    kind = "not JSON" if n % 3 == 2 else None
                    writer.append(n, answer, Score(correct=correct, format=kind, values={"words": float(n)}))
    log.write_summary(summarise(log, (FORMAT_ERROR_RATE, WORDS)))
    return log


def report(log: RunLog, folder: Path) -> str:
    from rich.console import Console

    summary = log.summary()
    assert summary is not None
    print_summary(summary, Console(quiet=True))
    to_csv(summary)
    to_markdown(summary)
    return write_report(log, folder / "report.html").read_text("utf-8")


def test_one_backend_is_compared_with_nobody(tmp_path: Path) -> None:
    log = synthetic_run(tmp_path / "run", 30, makers={"gpt4": MAKERS["gpt4"]})
    assert "There is no other backend to compare it with." in report(log, tmp_path)


def test_open_answers_have_no_classes_and_show_their_format_errors(tmp_path: Path) -> None:
    page = report(open_run(tmp_path / "run", 2), tmp_path)
    assert 'id="classes"' not in page and "not JSON" in page
    assert "2 rows were answered wrongly" in re.sub(r"\s+", " ", page)
    assert "Question 2?" in page


def test_a_run_in_which_nobody_answered_says_so(tmp_path: Path) -> None:
    page = report(open_run(tmp_path / "run", 2, fails=True), tmp_path)
    first = re.search(r"<h1>(.*?)</h1>", page)
    assert first is not None and "no row was answered by both" in first.group(1)
    assert "connection" in page and "n/a" in page


def test_an_empty_run_is_a_page_all_the_same(tmp_path: Path) -> None:
    assert "0 rows" in report(open_run(tmp_path / "run", 2, rows=0), tmp_path)


def test_repeats_that_disagree_are_partly_right(tmp_path: Path) -> None:
    log = open_run(tmp_path / "run", 1, repeats=3)
    book = ReportRows.of(log, ["model-0"])
    answers = book.answers["model-0"]
    assert set(answers.verdicts) == {PARTLY}
    assert [verdict for _, verdict in answers.repeats[0]] == [3, 2]
    assert "× 3" in report(log, tmp_path)


@pytest.mark.parametrize("field", ["resolution", "pairs", "metrics", "ranks"])
def test_a_summary_that_lacks_a_part_is_still_shown(log: RunLog, tmp_path: Path, field: str) -> None:
    summary = log.summary()
    assert summary is not None
    bare: Any = {"resolution": None, "pairs": (), "metrics": CLASSIFICATION[:1], "ranks": {}}[field]
    copy = RunLog.create(tmp_path / "run", log.manifest, [])
    copy.write_summary(msgspec.structs.replace(summary, **{field: bare}))
    assert "<h1>" in write_report(copy, tmp_path / "r.html", redact=True).read_text("utf-8")
