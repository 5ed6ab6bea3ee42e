"""A report is one file that says everything, loads nothing and is the same every time."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.errors import IncompleteRunError
from harness.prompting.prompt_variants import with_shots
from harness.reports.explorer_payload import pack
from harness.reports.run_page import write_report
from harness.results import Summary
from harness.runs.run_log import RunLog
from tests.reports.test_odd_runs import open_run


@pytest.fixture(scope="session")
def page(log: RunLog, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(log, tmp_path_factory.mktemp("page") / "report.html").read_text("utf-8")


def test_the_answer_stands_first(page: str) -> None:
    body = page[page.index("<body>") :]
    first = re.search(r"<h1>(.*?)</h1>", body)
    assert first is not None and "more accurate than gpt4 (95\N{NO-BREAK SPACE}%, " in first.group(1)
    assert body.index("<h1>") < body.index("<table")


def test_every_figure_comes_with_its_interval(page: str, summary: Summary) -> None:
    for result in summary.backends.values():
        found = result.metrics["accuracy"]
        assert found.value is not None and found.low is not None and found.high is not None
        text = f'{100 * found.value:.1f}<span class="note">[{100 * found.low:.1f}, {100 * found.high:.1f}]</span>'
        assert text in page


def test_unknown_prices_and_shut_down_models_are_said(page: str) -> None:
    assert "unknown" in page and "shut down 2025-09-01" in page


def test_prompts_method_and_provenance_are_there(page: str) -> None:
    assert "Which topic is this news item about" in page
    assert "Wilson&#39;s score interval" in page and "Exact McNemar test" in page
    assert "a" * 64 in page and "f" * 64 in page and "a made-up processor" in page


def test_nothing_is_loaded_and_only_our_own_scripts_may_run(page: str) -> None:
    assert "default-src &#39;none&#39;" in page and "script-src &#39;sha256-" in page
    assert "unsafe-inline" not in page and " style=" not in page
    assert not re.search(r"(?:src|href|action)=[\"']?(?:https?:)?//", page)
    assert not re.search(r"\son\w+=", page)


def test_every_picture_is_told_to_a_screen_reader_and_has_its_table(page: str) -> None:
    pictures = re.findall(r"<svg [^>]*>", page)
    assert len(pictures) == 7
    for picture in pictures:
        labelled = re.search(r'aria-labelledby="([\w-]+) ([\w-]+)"', picture)
        assert labelled is not None and 'role="img"' in picture
        assert f'<title id="{labelled.group(1)}">' in page and f'<desc id="{labelled.group(2)}">' in page
    assert page.count("The figures behind") == 6, "the first picture's figures are the card above it"


def test_ids_are_unique(page: str) -> None:
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_the_same_run_gives_the_same_bytes(log: RunLog, page: str, tmp_path: Path) -> None:
    assert write_report(log, tmp_path / "again.html").read_text("utf-8") == page


def test_a_redacted_report_holds_no_row_and_no_answer(log: RunLog, tmp_path: Path) -> None:
    page = write_report(log, tmp_path / "shared.html", redact=True).read_text("utf-8")
    for row in log.rows():
        assert row.sample.inputs["text"] not in page
        assert row.sample.id not in page
    assert "I am not sure about this one" not in page
    assert "⟨the row&#39;s text 1⟩" in page and "more accurate than gpt4" in page


def test_a_redacted_report_leaves_out_what_is_a_rows_own_though_no_passage_marks_it(tmp_path: Path) -> None:
    page = write_report(open_run(tmp_path / "run", 2), tmp_path / "shared.html", redact=True).read_text("utf-8")
    assert "Question" not in page and "⟨left out⟩" in page


def test_a_redacted_report_leaves_out_the_solved_rows_before_the_question(log: RunLog, tmp_path: Path) -> None:
    rows = list(log.rows())
    example = (rows[0].request, "a secret answer")
    asked = [(row.sample, with_shots(row.request, [example])) for row in rows[1:40]]
    manifest = msgspec.structs.replace(log.manifest, rows=len(asked), shots=1)
    copy = RunLog.create(tmp_path / "run", manifest, asked)
    summary = log.summary()
    assert summary is not None
    copy.write_summary(summary)
    page = write_report(copy, tmp_path / "shared.html", redact=True).read_text("utf-8")
    assert "a secret answer" not in page and rows[0].sample.inputs["text"] not in page
    assert "Which topic is this news item about" in page


def test_a_run_without_summary_is_told_how_to_finish(tmp_path: Path, log: RunLog) -> None:
    unfinished = RunLog.create(tmp_path / "run", log.manifest, [])
    with pytest.raises(IncompleteRunError, match="--resume"):
        write_report(unfinished, tmp_path / "report.html")


def test_texts_that_are_left_out_are_counted_on_the_page(
    log: RunLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.reports.run_page.pack", functools.partial(pack, limit=20_000))
    page = write_report(log, tmp_path / "r.html").read_text("utf-8")
    left = re.search(r"the texts of (\d+) of 500 rows are left out", page)
    assert left is not None and 0 < int(left.group(1)) < 500


def test_a_report_loads_no_library_of_statistics_or_models(log: RunLog, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.runs.run_log import RunLog; "
        "from harness.reports.run_page import write_report; "
        f"write_report(RunLog.open(Path({str(log.path)!r})), Path({str(tmp_path / 'r.html')!r})); "
        "print(sorted({'scipy', 'torch', 'pandas', 'openai', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
