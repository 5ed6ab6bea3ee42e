"""The answers of a run as files: the same lines in each format, nothing lost, nothing that runs."""

import csv
import json
from pathlib import Path

import msgspec
import pytest

from harness.records import Completion, Request, Sample, Score
from harness.reports.row_export import kind_of_column, write_rows
from harness.runs.run_handle import Run
from harness.runs.run_log import RunLog
from tests.support.command import bench
from tests.support.synthetic_run import MAKERS, synthetic_run

ANSWERS = ("=HYPERLINK(0)", "-5", 'two\nlines, "quoted"', "\ufeffplain", "")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Five answers of one backend to six rows; the second has a further value."""
    whole = synthetic_run(tmp_path / "whole", 6, makers={"m": MAKERS["gpt4"]})
    samples = [(Sample.of({"text": f"row {n}", "n": "9"}, "-5", "test"), Request(id="", messages=())) for n in range(6)]
    log = RunLog.create(tmp_path / "run", whole.manifest, samples)
    with log.writer("m") as writer:
        for n, text in enumerate(ANSWERS):
            score = Score(answer=text or None, correct=text == "-5", values={"distance": 0.25} if n == 1 else {})
            scores = {"-5": -0.25, "5": -1.5} if n == 0 else None
            writer.append(n, Completion(id="", text=text, finish="stop", label_scores=scores), score)
    return Run(log)


def test_json_lines_hold_every_record_as_it_is(run: Run, tmp_path: Path) -> None:
    assert write_rows(run, tmp_path / "r.jsonl") == 6
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text("utf-8").splitlines()]
    assert [row["text"] for row in rows] == [*ANSWERS, None]
    assert [row["value_distance"] for row in rows] == [None, 0.25, None, None, None, None]
    assert [row["correct"] for row in rows[:2]] == [False, True] and rows[5]["status"] == "missing"
    assert rows[3]["input_text"] == "row 3" and rows[0]["latency_s"] == 0.0 and rows[0]["n"] == 0


def test_no_spreadsheet_takes_an_answer_for_a_formula(run: Run, tmp_path: Path) -> None:
    write_rows(run, tmp_path / "deep" / "r.csv")
    with (tmp_path / "deep" / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["'=HYPERLINK(0)", "-5", ANSWERS[2], "⟨U+FEFF⟩plain", "", ""]
    assert [row["correct"] for row in rows] == ["false", "true", "false", "false", "false", ""]
    assert rows[0]["reference"] == "-5" and rows[1]["value_distance"] == "0.25"


def test_parquet_has_types(run: Run, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write_rows(run, tmp_path / "r.PARQUET")
    table = pq.read_table(tmp_path / "r.PARQUET")
    assert table["text"].to_pylist() == [*ANSWERS, None]
    kinds = {name: str(table.schema.field(name).type) for name in ("n", "correct", "latency_s", "input_n", "answer")}
    assert kinds == {"n": "int64", "correct": "bool", "latency_s": "double", "input_n": "string", "answer": "string"}
    assert kind_of_column("value_distance") == "number" and kind_of_column("completion_tokens") == "count"
    first = {name: value for name, value in next(run.records()).items() if value is not None}
    kinds_of = {bool: "yes or no", int: "count", float: "number", str: "text"}
    assert {name: kind_of_column(name) for name in first} == {name: kinds_of[type(v)] for name, v in first.items()}


def test_every_column_of_a_data_frame_is_exported(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    write_rows(run, tmp_path / "r.csv")
    header = (tmp_path / "r.csv").read_text("utf-8").splitlines()[0].split(",")
    assert set(header) == set(run.to_pandas().columns)


def test_the_verb_writes_a_file_whole_or_not_at_all(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("export", str(run.path), "--out", str(tmp_path / "r.csv")) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'r.csv'}: 6 lines.\n"
    assert bench("export", str(run.path), "--out", str(tmp_path / "r.jsonl"), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(tmp_path / "r.jsonl"), "lines": 6}
    assert bench("export", str(run.path), "--out", str(tmp_path / "r.xlsx")) == 2
    assert "--out takes a name that ends in .csv, .parquet or .jsonl" in capsys.readouterr().err
    log = run.path / "m.jsonl"
    log.write_text(log.read_text().replace('"text":""', '"text":7'))
    assert bench("export", str(run.path), "--out", str(tmp_path / "torn.jsonl")) == 2
    assert not list(tmp_path.glob("*torn*"))


def test_a_run_without_answers_is_exported_as_missing_rows(tmp_path: Path) -> None:
    whole = synthetic_run(tmp_path / "whole", 3, makers={"m": MAKERS["gpt4"]})
    rows = [(row.sample, row.request) for row in whole.rows()]
    log = RunLog.create(tmp_path / "run", msgspec.structs.replace(whole.manifest, repeats=2), rows)
    assert write_rows(Run(log), tmp_path / "r.jsonl") == 6
