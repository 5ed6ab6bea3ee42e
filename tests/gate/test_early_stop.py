"""--early-stop from end to end with fakes: fewer rows asked, the same decision by the gate, nothing mixed."""

from pathlib import Path
from typing import Any

import pytest

from harness import runner
from harness.errors import ExitCode, IncompleteRunError, NotComparableError, UsageError
from harness.gating.baseline_file import make_baseline, write_baseline
from harness.gating.gate_result import GateResult
from harness.gating.gate_sources import gate_run
from harness.metrics import MACRO_F1
from harness.runner import exit_code
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.workspace import Workspace
from tests.support.fakes import FakeBackend, Parity

TASK = "tests.support.fakes:Parity"
GATE = {"accuracy": {"margin": 0.3}}


@pytest.fixture(autouse=True)
def _nothing_asked_yet() -> None:
    FakeBackend.asked.clear()


def run(
    folder: Path, backends: dict[str, dict[str, Any]], gate: dict[str, Any] | None = None, **options: Any
) -> RunLog:
    tables = {n: {"kind": "tests.support.fakes:FakeBackend", "window": 4, **t} for n, t in backends.items()}
    settings = Settings(backends=tables, gate=GATE if gate is None else gate)
    options = {"settings": settings, "workspace": Workspace(folder.parent), "out": folder, **options}
    return runner.run(TASK, list(backends), **options)


def baseline(tmp_path: Path, **settings: Any) -> str:
    """A baseline of a full run, as a file."""
    write_baseline(tmp_path / "main.json", make_baseline(run(tmp_path / "reference", {"a": settings})))
    FakeBackend.asked.clear()
    return str(tmp_path / "main.json")


def decided_after(log: RunLog, name: str = "a") -> int:
    """The row at which the watch decided, as the session noted it."""
    message = (log.sessions(name)[-1].stopped or {})["message"]
    return int(message.split(f"{name}: ")[1].split(" after ")[1].split(" ")[0])


def judged(log: RunLog, reference: str | None, **options: Any) -> GateResult:
    table = options.pop("table", GATE)
    candidate, against = options.pop("names", (None, None))
    return gate_run(
        log.path,
        workspace=Workspace(log.path.parent),
        table=table,
        baseline=reference,
        candidate=candidate,
        reference=against,
    )


def test_asking_ends_once_the_answer_is_known_and_the_gate_decides_alike(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    log = run(tmp_path / "r", {"a": {"wrong_every": 11}}, early_stop=reference)
    assert len(FakeBackend.asked) < 60
    summary = log.summary()
    assert summary is not None
    result = summary.backends["a"]
    assert result.stopped is not None and result.stopped["kind"] == "early_stop"
    assert "pass after" in result.stopped["message"]
    assert exit_code(summary) == ExitCode.DONE
    assert not any("continue with --resume" in w for w in summary.warnings)
    verdict = judged(log, reference)
    (check,) = verdict.checks
    assert (verdict.verdict, check.kind) == ("pass", "sequential")
    assert 0 < decided_after(log) <= check.rows == len(FakeBackend.asked)


def test_a_harmful_candidate_is_stopped_and_fails(tmp_path: Path) -> None:
    reference = baseline(tmp_path)
    log = run(tmp_path / "r", {"a": {"wrong_every": 1}}, early_stop=reference)
    assert len(FakeBackend.asked) < 30
    verdict = judged(log, reference)
    assert (verdict.verdict, verdict.exit_code) == ("fail", ExitCode.GATE_FAILED)


def test_an_open_question_asks_every_row_and_the_gate_is_the_ordinary_one(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    gate = {"accuracy": {"margin": 0.01}}
    log = run(tmp_path / "r", {"a": {"wrong_every": 11}}, gate=gate, early_stop=reference)
    assert len(FakeBackend.asked) == 60
    summary = log.summary()
    assert summary is not None and summary.backends["a"].stopped is None
    assert [c.kind for c in judged(log, reference, table=gate).checks] == ["paired"]


def test_a_backend_of_the_run_can_be_the_reference_and_stops_with_the_last_candidate(tmp_path: Path) -> None:
    log = run(tmp_path / "r", {"cheap": {"wrong_every": 11}, "paid": {"wrong_every": 7}}, early_stop="paid")
    asked = [name for name, _, _ in FakeBackend.asked]
    assert asked.count("paid") < 60 and asked.count("cheap") < 60
    verdict = judged(log, None, names=("cheap", "paid"))
    assert verdict.verdict == "pass" and verdict.checks[0].kind == "sequential"


def test_checks_that_were_not_watched_hold_in_sequence_too_or_are_said_not_to_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Parity, "metrics", (*Parity.metrics, MACRO_F1))
    reference = baseline(tmp_path, wrong_every=7)
    log = run(tmp_path / "r", {"a": {"wrong_every": 11}}, early_stop=reference)
    limits = {"format_error_rate": {"at_most": 0.3}, "cost_per_1000": {"ratio": 1.1}, "macro_f1": {"margin": 0.1}}
    verdict = judged(log, reference, table={**GATE, **limits})
    by_metric = {c.metric: c for c in verdict.checks}
    assert by_metric["format_error_rate"].verdict == "pass"
    assert "confidence sequence" in by_metric["format_error_rate"].method
    assert by_metric["macro_f1"].verdict == "advisory"
    assert "fixed number of rows do not apply" in by_metric["macro_f1"].sentence
    assert by_metric["cost_per_1000"].kind == "ratio"


def test_rows_that_were_never_asked_are_neither_flips_nor_wrong_in_their_class(tmp_path: Path) -> None:
    reference = baseline(tmp_path)
    log = run(tmp_path / "r", {"a": {"wrong_every": 2}}, early_stop=reference)
    answered = {line.id for line in log.lines("a").values()}
    assert 0 < len(answered) < 60
    verdict = judged(log, reference)
    assert verdict.flips and {flip.id for flip in verdict.flips} <= answered
    assert verdict.diagnostics == ()  # their tests are of a fixed number of rows


def test_the_last_run_stays_the_reference_when_this_one_is_resumed(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    first = run(tmp_path / "runs" / "first", {"a": {}}, workspace=place)
    log = run(tmp_path / "runs" / "second", {"a": {"stop_after": 8}}, workspace=place, early_stop="last")
    assert (log.manifest.early_stop or {})["reference"] == str(first.path)
    path = log.path / "manifest.json"
    path.write_text(path.read_text().replace('"stop_after": 8', '"stop_after": 0'))
    log = runner.resume(log.path, settings=Settings(backends={}), workspace=place)
    assert len(log.answered("a")) > 8


def test_a_gate_with_another_margin_is_refused(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    log = run(tmp_path / "r", {"a": {"wrong_every": 11}}, early_stop=reference)
    verdict = judged(log, reference, table={"accuracy": {"margin": 0.2}})
    assert verdict.exit_code == ExitCode.NOT_COMPARABLE
    assert "stopped for a margin of 0.3, the gate asks for 0.2" in verdict.checks[0].sentence


def test_rows_that_are_all_equal_are_no_pass_here_either(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    log = run(tmp_path / "r", {"a": {"wrong_every": 7}}, early_stop=reference)
    assert judged(log, reference).verdict != "pass"


def test_a_run_that_stopped_early_is_no_baseline(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    log = run(tmp_path / "r", {"a": {"wrong_every": 11}}, early_stop=reference)
    with pytest.raises(IncompleteRunError, match="stopped early"):
        make_baseline(log)


def test_a_resumed_run_counts_what_was_answered_and_asks_nothing_more_than_it_needs(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    log = run(tmp_path / "r", {"a": {"wrong_every": 11, "stop_after": 8}}, early_stop=reference)
    assert len(log.answered("a")) == 8
    path = log.path / "manifest.json"
    path.write_text(path.read_text().replace('"stop_after": 8', '"stop_after": 0'))
    log = runner.resume(log.path, settings=Settings(backends={}), workspace=Workspace(tmp_path))
    straight = run(tmp_path / "s", {"a": {"wrong_every": 11}}, early_stop=reference)
    assert decided_after(log) == decided_after(straight)
    assert len(log.answered("a")) < 60


def test_repeats_are_averaged_before_they_count(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    log = run(tmp_path / "r", {"a": {"wrong_every": 11}}, early_stop=reference, repeats=2)
    single = run(tmp_path / "s", {"a": {"wrong_every": 11}}, early_stop=reference)
    assert decided_after(log) == decided_after(single)


def test_errors_count_against_the_candidate_while_watched_and_in_the_gate(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    gate = {**GATE, "max_error_rate": 0.5}
    log = run(tmp_path / "r", {"a": {"error_every": 13}}, gate=gate, early_stop=reference)
    summary = log.summary()
    assert summary is not None and summary.backends["a"].stopped is not None
    check = judged(log, reference, table=gate).checks[0]
    assert f"{check.verdict} after {decided_after(log)} rows" in summary.backends["a"].stopped["message"]


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("missing.json", NotComparableError, "bench baseline accept"),
        ("a", UsageError, "no other backend"),
        ("no-such-run", UsageError, "no run 'no-such-run'"),
    ],
)
def test_a_reference_that_cannot_be_used_is_refused_before_anything_is_asked(
    tmp_path: Path, reference: str, error: type[Exception], message: str
) -> None:
    run(tmp_path / "runs" / "other", {"b": {}}, workspace=Workspace(tmp_path))
    FakeBackend.asked.clear()
    with pytest.raises(error, match=message):
        run(tmp_path / "r", {"a": {}}, early_stop=reference, workspace=Workspace(tmp_path))
    assert FakeBackend.asked == []


def test_other_rows_or_names_are_refused(tmp_path: Path) -> None:
    reference = baseline(tmp_path)
    with pytest.raises(NotComparableError, match="the rows differ"):
        run(tmp_path / "r", {"a": {}}, early_stop=reference, limit=30)
    with pytest.raises(NotComparableError, match="matched by name"):
        run(tmp_path / "s", {"z": {}}, early_stop=reference)


def test_a_metric_that_is_no_mean_of_rows_cannot_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parity, "metrics", (MACRO_F1,))
    with pytest.raises(UsageError, match="macro_f1 is no mean of rows"):
        run(tmp_path / "r", {"a": {}, "b": {}}, gate={"macro_f1": {"margin": 0.1}}, early_stop="b")


def test_rows_that_do_not_differ_end_no_run_that_the_gate_could_not_decide(tmp_path: Path) -> None:
    """Sixty equal rows pass a margin of 30 points at once, and the gate would find nothing to judge."""
    reference = baseline(tmp_path)
    log = run(tmp_path / "r", {"a": {}}, early_stop=reference)
    assert len(FakeBackend.asked) == 60
    assert log.sessions("a")[-1].stopped is None


def test_the_gate_finds_after_the_stop_what_the_stop_found(tmp_path: Path) -> None:
    """Whatever the candidate: a run that stopped has a verdict, and it is the one that the session noted."""
    reference = baseline(tmp_path, wrong_every=7)
    for every in (1, 2, 3, 5, 11, 13):
        log = run(tmp_path / f"r{every}", {"a": {"wrong_every": every}}, early_stop=reference)
        stopped = log.sessions("a")[-1].stopped
        if stopped is not None:
            assert f"a: {judged(log, reference).verdict} after" in stopped["message"]


def test_errors_beyond_what_the_gate_allows_do_not_end_a_run(tmp_path: Path) -> None:
    reference = baseline(tmp_path, wrong_every=7)
    log = run(tmp_path / "r", {"a": {"error_every": 5}}, early_stop=reference)
    assert log.sessions("a")[-1].stopped is None
    assert judged(log, reference).verdict == "incomplete"


def test_every_margin_of_the_gate_is_watched(tmp_path: Path) -> None:
    """Accuracy alone is answered after some rows; the format margin of one point is not after sixty."""
    reference = baseline(tmp_path, wrong_every=7)
    gate = {**GATE, "format_error_rate": {"margin": 0.01}}
    log = run(tmp_path / "r", {"a": {"wrong_every": 11}}, gate=gate, early_stop=reference)
    assert len(FakeBackend.asked) == 60 and log.sessions("a")[-1].stopped is None


def test_what_is_shown_after_a_stop_holds_wherever_it_stopped(tmp_path: Path) -> None:
    """In the summary and its pairs: confidence sequences, and no p of a fixed number of rows."""
    log = run(tmp_path / "r", {"cheap": {"wrong_every": 11}, "paid": {"wrong_every": 7}}, early_stop="paid")
    summary = log.summary()
    assert summary is not None
    for result in summary.backends.values():
        assert "confidence sequence" in result.metrics["accuracy"].method
    (pair,) = [p for p in summary.pairs if p.metric == "accuracy"]
    assert "confidence sequence" in pair.difference.method
    assert "wherever asking stops" in pair.p_method and pair.only_a is None
    assert summary.verdict is not None and summary.verdict.sequential
    check = judged(log, None, names=("cheap", "paid")).checks[0]
    assert check.level == 0.95 and check.low is not None and check.high is not None
    assert summary.verdict.loss.high == pytest.approx(-check.low)
    assert summary.verdict.loss.low == pytest.approx(-check.high)


def test_a_run_that_could_have_stopped_is_judged_at_half_the_level(tmp_path: Path) -> None:
    """The other half was spent on looking."""
    reference = baseline(tmp_path, wrong_every=7)
    gate = {"accuracy": {"margin": 0.01}}
    watched = run(tmp_path / "r", {"a": {"wrong_every": 11}}, gate=gate, early_stop=reference)
    plain = run(tmp_path / "s", {"a": {"wrong_every": 11}}, gate=gate)
    levels = [judged(log, reference, table=gate).checks[0].level for log in (watched, plain)]
    assert levels == [0.95, 0.9]


def test_a_reference_that_lacks_answers_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    reference = run(tmp_path / "reference", {"a": {"error_every": 5}})
    FakeBackend.asked.clear()
    with pytest.raises(IncompleteRunError, match="lacks 12 of 60 answers"):
        run(tmp_path / "r", {"a": {}}, early_stop=str(reference.path))
    assert FakeBackend.asked == []


def test_a_candidate_that_was_trained_on_some_rows_is_asked_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate judges the other rows too, and these would be too few at the stop."""
    from harness.data.contamination import Findings, Overlap

    reference = baseline(tmp_path, wrong_every=7)
    seen = Findings(overlaps={"a": Overlap(source="train", training_rows=9, exact=(3,))})
    monkeypatch.setattr(runner, "find_overlaps", lambda *_: seen)
    log = run(tmp_path / "r", {"a": {"wrong_every": 11}}, early_stop=reference)
    assert len(FakeBackend.asked) == 60 and log.sessions("a")[-1].stopped is None
