"""Small evaluations with recorded answers, through the command line: each asks for one verdict."""

import json
from pathlib import Path

import pytest

from benchmarks.statistics_grid.recordings import (
    Evaluation,
    five_graded_rows,
    memorised,
    one_row_a_label,
    rare_references,
)
from harness.gating.gate_result import SCHEMA, GateResult
from harness.runs.run_log import decode_schema
from tests.support.command import bench


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, with its own workspace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))


def gated(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> tuple[GateResult, int]:
    """Write the evaluation, run its commands: the gate's result and exit code. Pages lie beside it."""
    evaluation.write(Path(evaluation.name))
    monkeypatch.chdir(evaluation.name)
    run, gate = evaluation.commands
    assert bench(*run, "--quiet") == 0
    code = bench(*gate, "--quiet", "--markdown", "gate.md", "--junit", "gate.xml")
    return decode_schema(Path("run", "gate.json").read_bytes(), GateResult, SCHEMA, "gate.json"), code


def test_a_candidate_that_is_worse_only_on_rare_references_fails_with_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the rows have a reference of their own; so have about 40 of the 400 rows that are asked."""
    evaluation = rare_references()
    result, code = gated(evaluation, monkeypatch)
    rows = [json.loads(line) for line in Path("run", "samples.jsonl").read_text("utf-8").splitlines()]
    rare = sum(row["sample"]["reference"].startswith("no. ") for row in rows)
    assert len(rows) == 400 and 30 <= rare <= 50
    (check,) = result.checks
    assert (result.verdict, code, check.rows) == ("fail", 1, 400)
    assert check.difference is not None and check.difference == pytest.approx(-0.05, abs=0.02)


def test_labels_with_one_row_each_get_no_verdict_on_macro_f1(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row a label never varies when rows are drawn within their label: +1.73 [+1.73, +1.73] would be a pass."""
    result, code = gated(one_row_a_label(), monkeypatch)
    (check,) = result.checks
    assert (result.verdict, code, check.verdict) == ("inconclusive", 0, "inconclusive")
    assert check.low is None and check.high is None
    assert "77 labels have fewer than 5 rows" in check.sentence


def test_five_graded_rows_of_which_four_tie_are_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    result, code = gated(five_graded_rows(), monkeypatch)
    (check,) = result.checks
    assert (result.verdict, code, check.rows, check.differing) == ("inconclusive", 0, 5, 1)
    assert "5 rows, and a graded metric needs at least 20" in check.sentence
    assert check.resolves is None, "five rows pass no margin of a graded metric"


def test_a_candidate_that_is_right_only_on_rows_it_was_trained_on_does_not_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right on the 250 rows that are in the training split and on none of the 50 others; better on all 300."""
    result, code = gated(memorised(), monkeypatch)
    assert (result.verdict, code) == ("incomparable", 4)
    for page in ("gate.md", "gate.xml", "run/gate.json"):
        assert "250 of 300 evaluated rows" in Path(page).read_text("utf-8"), page


def test_the_rows_it_was_not_trained_on_decide_where_all_may_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = memorised()
    evaluation.write(Path(evaluation.name))
    monkeypatch.chdir(evaluation.name)
    with Path("bench.toml").open("a") as settings:
        settings.write("[gate]\nmax_contaminated = 1.0\n")
    run, gate = evaluation.commands
    assert (bench(*run, "--quiet"), bench(*gate, "--quiet")) == (0, 1)
    result = decode_schema(Path("run", "gate.json").read_bytes(), GateResult, SCHEMA, "gate.json")
    whole, clean = result.checks
    assert (whole.verdict, clean.verdict, clean.rows) == ("pass", "fail", 50)
