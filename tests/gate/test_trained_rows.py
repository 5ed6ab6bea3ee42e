"""Contamination decides: rows that a candidate was trained on are taken out, and the worse of both verdicts counts."""

import json
from pathlib import Path

import msgspec
import pytest

from harness.data.contamination import Findings, Overlap, write_findings
from harness.errors import ExitCode, UsageError
from harness.gating.baseline_file import make_baseline, read_baseline, write_baseline
from harness.gating.ci_outputs import annotations, junit_xml, markdown
from harness.gating.gate_result import GateResult
from harness.records import BackendIdentity
from harness.runs.run_log import RunLog
from tests.gate.building import finished, judged, make_run, right_but
from tests.support.command import bench

ROWS = 900
TUNED = {"a": BackendIdentity(kind="local", model="small", decode="generate", adapter="mine", adapter_sha256="f" * 64)}


def tuned(folder: Path, wrong: tuple[int, ...], seen: tuple[int, ...] | None, rows: int = ROWS) -> RunLog:
    """A run of a tuned backend that is wrong on some rows and was trained on others; None: nobody knows which."""
    log = make_run(folder, {"a": right_but(*wrong)}, rows, identities=TUNED)
    if seen is not None:
        overlap = Overlap(source="the training rows of mine", training_rows=5_000, exact=seen)
        write_findings(log.path, Findings(overlaps={"a": overlap}))
    return finished(log)


def reference(folder: Path, seen: tuple[int, ...] = (), rows: int = ROWS) -> Path:
    """A baseline that is wrong on every third row."""
    write_baseline(folder / "main.json", make_baseline(tuned(folder / "before", tuple(range(0, rows, 3)), seen, rows)))
    return folder / "main.json"


SEEN = tuple(range(0, ROWS, 3))
OTHERS = tuple(n for n in range(ROWS) if n % 3)


def texts(result: GateResult) -> list[str]:
    pages = [markdown(result), junit_xml(result).decode(), "\n".join(annotations(result))]
    return [page.replace("\\", "").replace("%25", "%") for page in (*pages, msgspec.json.encode(result).decode())]


def test_a_candidate_that_is_right_only_on_rows_it_was_trained_on_does_not_pass(tmp_path: Path) -> None:
    """Over all rows it gains 27 points; on the others it loses 10."""
    worse = tuple(n for n in OTHERS if n % 10 == 1)
    result = judged(tmp_path, tuned(tmp_path / "r", worse, SEEN), reference(tmp_path))
    whole, clean = result.checks
    assert (whole.scope, whole.verdict, whole.rows) == ("all", "pass", 900)
    assert (clean.scope, clean.verdict, clean.rows) == ("clean", "fail", 600)
    assert (result.verdict, result.exit_code) == ("fail", ExitCode.GATE_FAILED)
    for page in texts(result):
        assert "300 of 900 evaluated rows (33 %) are also in its training rows" in page
    assert "rows not trained on" in markdown(result) and "rows not trained on" in junit_xml(result).decode()
    mine, theirs = result.contamination[0]
    assert (mine.contaminated, mine.share, theirs.contaminated) == (300, pytest.approx(1 / 3), 0)


def test_clean_rows_that_pass_too_leave_a_pass(tmp_path: Path) -> None:
    result = judged(tmp_path, tuned(tmp_path / "r", (), tuple(range(5))), reference(tmp_path))
    assert [check.verdict for check in result.checks] == ["pass", "pass"] and result.passed


def test_above_the_share_there_is_no_verdict(tmp_path: Path) -> None:
    run, baseline = tuned(tmp_path / "r", (), tuple(range(33)), 39), reference(tmp_path, rows=39)
    result = judged(tmp_path, run, baseline)
    assert (result.verdict, result.exit_code) == ("incomparable", ExitCode.NOT_COMPARABLE)
    for page in texts(result):
        assert "33 of 39 evaluated rows (85 %)" in page
    table = {"accuracy": {"margin": 0.02}, "max_contaminated": 0.9}
    allowed = judged(tmp_path, run, baseline, table=table)
    assert [check.rows for check in allowed.checks] == [39, 6] and not allowed.passed
    with pytest.raises(UsageError, match="max_contaminated is a share of rows"):
        judged(tmp_path, run, baseline, table={"max_contaminated": 90})


def test_rows_that_are_all_trained_on_never_pass(tmp_path: Path) -> None:
    run, baseline = tuned(tmp_path / "r", (), tuple(range(ROWS))), reference(tmp_path)
    result = judged(tmp_path, run, baseline, table={"accuracy": {"margin": 0.02}, "max_contaminated": 1.0})
    assert result.verdict == "inconclusive" and "every evaluated row" in result.checks[1].sentence


def test_limits_are_kept_on_the_clean_rows_too(tmp_path: Path) -> None:
    run, baseline = tuned(tmp_path / "r", OTHERS[:150], SEEN), reference(tmp_path)
    result = judged(tmp_path, run, baseline, table={"accuracy": {"at_least": 0.79}})
    assert [(check.scope, check.verdict) for check in result.checks] == [("all", "pass"), ("clean", "fail")]


def test_unknown_training_rows_are_said_and_known_ones_are_not(tmp_path: Path) -> None:
    baseline = reference(tmp_path)
    unknown = judged(tmp_path, tuned(tmp_path / "u", (), None), baseline)
    assert any("contamination unknown" in line for line in unknown.notes)
    assert unknown.contamination[0][0].contaminated is None
    known = judged(tmp_path, tuned(tmp_path / "k", (), ()), baseline)
    assert not any("training rows" in line for line in (*known.warnings, *known.notes))


def test_a_baseline_keeps_which_rows_were_trained_on(tmp_path: Path) -> None:
    path = reference(tmp_path, seen=(4, 9))
    ids = [row.sample.id for row in RunLog.open(tmp_path / "before").rows()]
    kept = read_baseline(path).additions.backends["a"]
    assert kept.contaminated == tuple(sorted((ids[4], ids[9]))) and kept.trained
    result = judged(tmp_path, tuned(tmp_path / "r", (), ()), path)
    assert result.contamination[0][1].contaminated == 2
    assert any("the reference a: 2 of 900 evaluated rows" in line for line in result.warnings)


def test_the_terminal_and_the_exit_code_of_a_contaminated_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    worse = tuple(n for n in OTHERS if n % 10 == 1)
    run, baseline = tuned(tmp_path / "r", worse, SEEN), reference(tmp_path)
    assert bench("gate", str(run.path), "--baseline", str(baseline), "--margin", "accuracy", "0.02") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "accuracy (rows not trained on)" in shown and "300 of 900 evaluated rows" in shown
    assert json.loads((run.path / "gate.json").read_text())["contamination"][0][0]["contaminated"] == 300
