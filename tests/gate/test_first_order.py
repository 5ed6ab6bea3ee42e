"""Runs and baselines of the first version of the row order (tests/gate/order_1, written by commit dc00f7c)."""

import json
import shutil
from pathlib import Path

from harness import runner
from harness.data.sampling import ORDER_VERSION, order_version
from harness.gating.baseline_file import make_baseline, read_baseline
from harness.gating.compare_runs import compare_two_runs
from harness.gating.early_stopped_gate import order_1_warning
from harness.gating.gate_result import CheckResult
from harness.gating.gate_sources import open_reference
from harness.records import Message, Request, Row, Sample
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.workspace import Workspace
from tests.gate.building import judged
from tests.support.fakes import FakeBackend

STORED = Path(__file__).parent / "order_1"
TABLES = {
    name: {"kind": "tests.support.fakes:FakeBackend", "window": 4, "wrong_every": wrong}
    for name, wrong in (("a", 7), ("b", 11))
}
GATE = {"accuracy": {"margin": 0.3}}


def run_now(folder: Path, limit: int | None = None) -> RunLog:
    """The same run by the order of today."""
    settings = Settings(backends=TABLES, gate=GATE)
    return runner.run(
        "tests.support.fakes:Parity",
        ["a", "b"],
        limit=limit,
        out=folder,
        settings=settings,
        workspace=Workspace(folder),
    )


def test_old_runs_and_baselines_load_and_say_by_which_order_they_were_drawn(tmp_path: Path) -> None:
    log = RunLog.open(STORED / "limited")
    assert order_version(log.manifest.data) == 1 and log.summary() is not None
    assert order_version(read_baseline(STORED / "limited.json").data) == 1
    now = run_now(tmp_path / "now")
    assert order_version(now.manifest.data) == ORDER_VERSION == make_baseline(now).data["order"]


def test_a_baseline_of_all_rows_is_compared_row_by_row_whatever_the_order(tmp_path: Path) -> None:
    verdict = judged(tmp_path, run_now(tmp_path / "now"), STORED / "all.json", table=GATE)
    assert verdict.verdict in ("unchanged", "pass", "inconclusive") and not verdict.reasons
    assert {check.differing for check in verdict.checks} == {0}


def test_a_baseline_with_a_limit_drew_other_rows_and_the_gate_says_why(tmp_path: Path) -> None:
    verdict = judged(tmp_path, run_now(tmp_path / "now", limit=23), STORED / "limited.json", table=GATE)
    assert verdict.verdict == "incomparable"
    (reason,) = verdict.reasons
    assert "23 here, 24 in the reference" in reason
    assert "version 2 of the seeded order here and by version 1 in the reference" in reason


def test_a_limit_that_happens_to_take_the_same_rows_is_compared(tmp_path: Path) -> None:
    """Two classes of one size: any even number of rows is the same set by both orders."""
    verdict = judged(tmp_path, run_now(tmp_path / "now", limit=24), STORED / "limited.json", table=GATE)
    assert not verdict.reasons and {check.differing for check in verdict.checks} == {0}


def test_compare_takes_the_common_rows_and_says_that_the_orders_differ(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    now = run_now(tmp_path / "now", limit=23)
    found = compare_two_runs(
        open_reference(str(STORED / "limited"), place), open_reference(str(now.path), place), None, None
    )
    common = {r.sample.id for r in now.rows()} & {r.sample.id for r in RunLog.open(STORED / "limited").rows()}
    assert found.rows == len(common) < 24
    assert any("version 1 of the seeded order in one run and by version 2" in note for note in found.notes)


def test_an_old_run_is_resumed_on_the_rows_that_it_stored(tmp_path: Path) -> None:
    shutil.copytree(STORED / "limited", tmp_path / "run")
    path = tmp_path / "run" / "a.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:10]))
    before = (tmp_path / "run" / "samples.jsonl").read_bytes()
    FakeBackend.asked.clear()
    log = runner.resume(tmp_path / "run", settings=Settings(backends={}), workspace=Workspace(tmp_path))
    assert len(FakeBackend.asked) == 14 and len(log.lines("a")) == 24
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == before
    assert order_version(log.manifest.data) == 1


def test_a_run_that_stopped_early_keeps_its_verdict_and_its_figures_hold_at_the_stop(tmp_path: Path) -> None:
    log = RunLog.open(STORED / "early")
    verdict = judged(tmp_path, log, candidate="a", reference="b", table=GATE)
    (check,) = verdict.checks
    assert (verdict.verdict, check.kind) == ("pass", "sequential")
    assert "confidence sequence" in check.method and check.low is not None and check.low > -0.3
    terms = json.loads((STORED / "early" / "manifest.json").read_text())["early_stop"]
    assert set(terms) == {"reference", "metric", "margin"}


def test_a_pass_of_the_first_order_is_open_where_rare_references_had_not_come() -> None:
    """450 rows of one class first; a hundred references that occur once had not been reached."""
    rows = []
    for n in range(1000):
        sample = Sample.of({"text": str(n)}, "yes" if n < 450 or n >= 550 else f"only {n}", "test")
        rows.append(
            Row(n=n, sample=sample, request=Request(id=sample.id, messages=(Message(role="user", content="?"),)))
        )
    made = CheckResult(
        name="a", backend="a", metric="accuracy", kind="sequential", verdict="pass", margin=0.02, rows=400
    )
    (doubted,) = order_1_warning([made], rows)
    assert doubted.verdict == "inconclusive"
    assert "100 of 1000 rows" in doubted.sentence and "0 of the 400 rows asked" in doubted.sentence
    assert order_1_warning([made], rows[:450]) == [made]
