"""`bench report` writes what its file name says and keeps people's text apart from machines'."""

from pathlib import Path

import msgspec
import pytest

from harness.results import Summary
from harness.runs.run_log import RunLog
from tests.support import command


def bench(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = command.bench(*argv)
    out, err = capsys.readouterr()
    return code, out, err


def test_it_prints_the_table_and_where_the_page_is(
    log: RunLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "r.html"
    code, out, _ = bench(capsys, "report", str(log.path), "--out", str(page))
    assert code == 0 and page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert str(page) in out.replace("\n", "")


def test_json_goes_to_standard_output_alone(log: RunLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = bench(capsys, "report", str(log.path), "--out", str(tmp_path / "r.csv"), "--json")
    assert code == 0 and msgspec.json.decode(out, type=Summary) == log.summary()
    assert "r.csv" in err.replace("\n", "") and (tmp_path / "r.csv").is_file()


def test_plots_are_written_as_svg_and_png(log: RunLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, _ = bench(capsys, "report", str(log.path), "--out", str(tmp_path / "r.md"), "--plots", str(tmp_path / "p"))
    assert code == 0
    names = {p.name for p in (tmp_path / "p").iterdir()}
    assert {"intervals.svg", "intervals.png", "quality-price.svg", "volume.png", "confusion-gpt4.png"} <= names
    assert (tmp_path / "p" / "intervals.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_run_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    code, _, err = bench(capsys, "report", "nowhere")
    assert code == 2 and err.startswith("bench: no run 'nowhere'") and "Traceback" not in err


def test_a_wrong_suffix_is_one_sentence(log: RunLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = bench(capsys, "report", str(log.path), "--out", str(tmp_path / "r.xlsx"))
    assert code == 2 and "cannot write '.xlsx' files" in err
    assert err.count("\n") == 1
