"""The report of a training shows what the adapter keeps, says what was tried, and draws no empty picture."""

import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from harness.adapter_manifest import read_manifest, write_manifest
from harness.cli.adapter import adapter
from harness.reports.training_page import write_training_report
from tests.reports.trained import bare_adapter, trained_adapter
from tests.support.hostile_run import PAYLOADS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_adapter(tmp_path_factory.mktemp("adapters") / "agnews-1")


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return write_training_report(folder).read_text("utf-8")


def test_it_begins_with_what_was_trained_on_what_and_how_good_it_is(page: str) -> None:
    assert "<h1>LoRA adapter for agnews: accuracy 0.940 on 200 validation rows</h1>" in page
    assert "was trained on tiny with 600 rows of rows/ in 40 steps and 12,000 tokens, 31.0 s." in page
    assert "The checkpoint of step 20 was chosen because it did best by accuracy on 200 rows held back" in page
    assert "2 of 602 targets are invalid." in page


def test_every_curve_is_drawn_with_its_figures_and_the_kept_step_is_marked(page: str) -> None:
    titles = re.findall(r"<h3>([^<]*)</h3>\s*<svg", page)
    assert titles == [
        "Loss", "Validation scores", "Learning rate", "Accuracy of every training", "Length of the training rows"
    ]  # fmt: skip
    assert page.count("The dotted line marks the checkpoint that was kept (step 20)") == 4  # said twice a picture
    assert "600 rows: 20 to 60 tokens, 21 in the middle; a row may have 64." in page
    pictures = re.findall(r"<svg [^>]*>", page)
    assert all('role="img"' in p and "aria-labelledby" in p for p in pictures)
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_a_group_is_shown_with_its_spread_and_what_the_best_must_not_be_taken_for(page: str) -> None:
    assert '0.920<span class="note">[0.870, 0.970]</span>' in page  # Student's t, two degrees of freedom
    assert "seed 1: 0.940 (chosen)" in page and "seed 2: given up" in page
    assert "Another one was chosen: agnews-01." in page
    assert "The chosen score is the best of 2 candidates, each at its best of up to 3 evaluations" in page


def test_nothing_is_loaded_and_only_our_own_scripts_may_run(page: str) -> None:
    assert "default-src &#39;none&#39;" in page and "unsafe-inline" not in page and " style=" not in page
    assert not re.search(r"(?:src|href|action)=[\"']?(?:https?:)?//", page)
    assert not re.search(r"\son\w+=", page)


def test_texts_of_rows_and_answers_are_escaped(tmp_path: Path) -> None:
    for number, payload in enumerate(PAYLOADS):
        page = write_training_report(trained_adapter(tmp_path / str(number), payload)).read_text("utf-8")
        assert "<img src=x" not in page and "window.hit = 1</script>" not in page
        assert "\u202e" not in page and "\x00" not in page


def test_a_redacted_report_holds_no_text_of_a_row(folder: Path, tmp_path: Path) -> None:
    page = write_training_report(folder, tmp_path / "shared.html", redact=True).read_text("utf-8")
    assert "own text" not in page and "shared without rows" in page
    assert "accuracy 0.940 on 200 validation rows" in page


def test_the_same_adapter_gives_the_same_bytes(folder: Path, page: str, tmp_path: Path) -> None:
    assert write_training_report(folder, tmp_path / "again.html").read_text("utf-8") == page


def test_what_an_adapter_does_not_keep_is_left_out(tmp_path: Path) -> None:
    hosted = bare_adapter(tmp_path / "hosted", model="ft:gpt:acme::1", metrics={}, selection={}, steps=0, tokens=0)
    page = write_training_report(hosted).read_text("utf-8")
    assert "<h1>Hosted model for agnews, without a validation score</h1>" in page and "ft:gpt:acme::1" in page
    assert "<svg" not in page and 'id="curves"' not in page and 'id="rows"' not in page and 'id="answers"' not in page


def test_a_baseline_shows_each_c_it_tried(tmp_path: Path) -> None:
    tried = [{"c": 1.0, "accuracy": 0.9}, {"c": 10.0, "accuracy": 0.95}]
    selection = {"rows": 100, "metric": "accuracy", "c": 10.0, "tried_c": tried}
    page = write_training_report(
        bare_adapter(tmp_path / "t", objective="tfidf", base="tfidf", selection=selection, steps=0)
    ).read_text("utf-8")
    assert "TF-IDF baseline for agnews" in page and "C = 10 was chosen" in page
    assert "10 (chosen)" in page and "0.950" in page and "<svg" not in page


def test_damaged_side_files_are_as_good_as_none(tmp_path: Path) -> None:
    folder = trained_adapter(tmp_path / "a")
    for name in ("history.json", "lengths.json", "examples.json"):
        (folder / name).write_text('{"step": ')
    page = write_training_report(folder).read_text("utf-8")
    assert "Loss" not in re.findall(r"<h3>([^<]*)</h3>", page) and "accuracy 0.940" in page


def test_the_verb_writes_it_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    write_manifest(folder, msgspec.structs.replace(read_manifest(folder), id="renamed"))
    (folder / "report.html").unlink(missing_ok=True)
    result = CliRunner().invoke(adapter, ["report", str(folder)], catch_exceptions=False)
    assert result.stdout.strip() == str(folder / "report.html")
    assert "renamed" in (folder / "report.html").read_text("utf-8")
    result = CliRunner().invoke(adapter, ["report", str(folder), "--redact"], catch_exceptions=False)
    assert result.stdout.strip() == str(folder / "report-redacted.html")
