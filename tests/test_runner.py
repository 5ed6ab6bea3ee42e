"""The main job with fakes: one contract, one run directory, resume, stops, and two runs compared."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import runner
from harness.errors import ExitCode, IncompleteRunError, InterruptedRunError, UsageError
from harness.execution.executor import Observer
from harness.reports.exports import summary_of as summary
from harness.runner import exit_code
from harness.runs.log_lines import LogWriter
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.workspace import Workspace
from tests.support.fakes import FakeBackend

TASK = "tests.support.fakes:Parity"


@pytest.fixture(autouse=True)
def _nothing_asked_yet() -> None:
    FakeBackend.asked.clear()
    FakeBackend.most.clear()


def settings(**backends: dict[str, object]) -> Settings:
    return Settings(backends={n: {"kind": "tests.support.fakes:FakeBackend", **t} for n, t in backends.items()})


def run(tmp_path: Path, name: str = "run", **changes: Any) -> RunLog:
    backends = changes.pop("backends", {"good": {}, "bad": {"wrong_every": 3}})
    options = {"settings": settings(**backends), "workspace": Workspace(tmp_path), "out": tmp_path / name, **changes}
    return runner.run(TASK, list(backends), **options)


def resume(tmp_path: Path, name: str = "run", **backends: dict[str, object]) -> RunLog:
    return runner.resume(tmp_path / name, settings=settings(**backends), workspace=Workspace(tmp_path))


def change_settings(path: Path, backend: str, **changes: object) -> None:
    """Repair a fake between two sessions, as a user would replace a key or restore a network."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["backend_settings"][backend].update(changes)
    (path / "manifest.json").write_text(json.dumps(manifest))


def results_only(log: RunLog) -> object:
    """A summary without what depends on the clock or on how many sessions it took."""
    plain = msgspec.to_builtins(summary(log))
    for result in plain["backends"].values():
        result.pop("load", None)
        result.pop("stopped", None)
    plain.pop("run")
    plain.pop("created")
    return plain


def test_every_backend_gets_the_same_rows_and_ends_in_one_summary(tmp_path: Path) -> None:
    log = run(tmp_path)
    good, bad = ([row for name, row, _ in FakeBackend.asked if name == which] for which in ("good", "bad"))
    assert len(set(good)) == 60 and sorted(good) == sorted(bad)
    results = summary(log).backends
    assert results["good"].metrics["accuracy"].value == 1.0
    assert results["bad"].metrics["accuracy"].value == pytest.approx(40 / 60)
    assert exit_code(summary(log)) == ExitCode.DONE
    assert {p.name for p in log.path.iterdir()} >= {"manifest.json", "samples.jsonl", "good.jsonl", "summary.json"}


def test_a_smaller_limit_asks_the_first_rows_of_a_larger_one(tmp_path: Path) -> None:
    large = [row.sample.id for row in run(tmp_path, "large", limit=30).rows()]
    small = [row.sample.id for row in run(tmp_path, "small", limit=10).rows()]
    assert small == large[:10]
    references = Counter(row.sample.reference for row in RunLog.open(tmp_path / "small").rows())
    assert references == {"even": 5, "odd": 5}


def test_a_stopped_backend_lets_the_others_finish_and_resume_asks_only_what_is_missing(tmp_path: Path) -> None:
    log = run(tmp_path, backends={"good": {}, "stops": {"stop_after": 20}})
    stopped = summary(log).backends["stops"]
    assert summary(log).backends["good"].answered == 60
    assert stopped.stopped == {"kind": "authentication", "message": "the key was refused: set FAKE_KEY."}
    assert (stopped.answered, stopped.missing) == (16, 44)  # whole windows of eight were yielded
    assert exit_code(summary(log)) == ExitCode.INCOMPLETE

    answered = {n for name, n, _ in FakeBackend.asked if name == "stops"}
    FakeBackend.asked.clear()
    change_settings(log.path, "stops", stop_after=0)
    finished = resume(tmp_path)
    asked = [n for name, n, _ in FakeBackend.asked]
    assert len(asked) == 44
    assert len(answered & set(asked)) <= 8  # only what was in flight
    undisturbed = run(tmp_path, "undisturbed", backends={"good": {}, "stops": {}})
    assert results_only(finished) == results_only(undisturbed)


def test_infrastructure_errors_leave_the_denominator_and_are_asked_again(tmp_path: Path) -> None:
    log = run(tmp_path, backends={"flaky": {"error_every": 10}})
    result = summary(log).backends["flaky"]
    assert result.errors == {"timeout": 6}
    assert result.metrics["accuracy"].value == 1.0
    assert result.metrics["accuracy"].n == 54
    assert exit_code(summary(log)) == ExitCode.INCOMPLETE
    FakeBackend.asked.clear()
    change_settings(log.path, "flaky", error_every=0)
    assert summary(resume(tmp_path)).backends["flaky"].answered == 60
    assert len(FakeBackend.asked) == 6


def test_resuming_a_finished_run_asks_nothing(tmp_path: Path) -> None:
    before = results_only(run(tmp_path))
    FakeBackend.asked.clear()
    assert results_only(resume(tmp_path)) == before
    assert not FakeBackend.asked


def test_a_backend_that_is_not_ready_is_told_before_anyone_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plug it in"):
        run(tmp_path, backends={"good": {}, "late": {"refuse": True}})
    assert not FakeBackend.asked


def test_a_crash_in_a_plugin_does_not_cut_off_the_others(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a bug in a plugin"):
        run(tmp_path, backends={"good": {"delay_s": 0.01}, "broken": {"crash_after": 5}})
    assert len(RunLog.open(tmp_path / "run").answered("good")) == 60


def test_repeats_are_asked_and_averaged(tmp_path: Path) -> None:
    log = run(tmp_path, repeats=3, backends={"bad": {"wrong_every": 2}})
    assert len(FakeBackend.asked) == 180
    assert {repeat for _, _, repeat in FakeBackend.asked} == {0, 1, 2}
    result = summary(log).backends["bad"]
    assert result.asked == 180
    assert result.metrics["accuracy"].value == pytest.approx(0.5)
    assert result.metrics["accuracy"].n == 60


def test_the_latency_probe_runs_apart_one_row_at_a_time(tmp_path: Path) -> None:
    log = run(tmp_path, probe_rows=10, backends={"good": {}})
    assert len(log.lines("good", probe=True)) == 10
    assert len(FakeBackend.asked) == 60 + 10 + 1  # and once to warm up
    probe = summary(log).backends["good"].probe
    assert probe is not None
    assert probe.rows == 10
    assert summary(log).backends["good"].answered == 60


def test_while_one_backend_is_probed_nobody_else_is_asked(tmp_path: Path) -> None:
    run(tmp_path, probe_rows=5, backends={"good": {"delay_s": 0.001}, "bad": {"delay_s": 0.001}})
    probed = [name for name, _, _ in FakeBackend.asked[:12]]
    assert all({first, second} == {"good", "bad"} for first, second in zip(probed[::2], probed[1::2], strict=True))
    assert FakeBackend.most[True] == 1
    assert FakeBackend.most[False] > 8, "the run itself asks all at once"


def test_the_manifest_says_what_was_asked_and_what_it_ran_on(tmp_path: Path) -> None:
    manifest = run(tmp_path, "one", limit=10, seed=3).manifest
    assert (manifest.task, manifest.parser, manifest.labels) == ("parity", "1", ("even", "odd"))
    assert (manifest.rows, manifest.seed, manifest.data["limit"], manifest.data["rows_of_split"]) == (10, 3, 10, 60)
    assert manifest.metric_versions["accuracy"] == 1
    assert manifest.backend_settings["bad"]["wrong_every"] == 3
    assert manifest.backends["bad"].model == "fake-1"
    assert {"python", "msgspec", "bench-harness"} <= set(manifest.versions)
    assert manifest.hardware["cores"] >= 1 and manifest.created
    other = run(tmp_path, "two", limit=12, seed=3).manifest
    for digests in zip(*((m.request_hash, m.data["fingerprint"]) for m in (manifest, other)), strict=True):
        assert len(set(digests)) == 2 and {len(d) for d in digests} == {64}


def test_a_full_disk_ends_in_a_sentence_and_resume_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = LogWriter.append

    def full(self: LogWriter, n: int, *rest: object) -> object:
        if len(RunLog.open(tmp_path / "run").lines("good")) == 20:
            raise OSError(28, "No space left on device")
        return append(self, n, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(LogWriter, "append", full)
    with pytest.raises(IncompleteRunError, match=r"No space left on device.*--resume"):
        run(tmp_path, backends={"good": {}})
    monkeypatch.setattr(LogWriter, "append", append)
    assert summary(resume(tmp_path)).backends["good"].answered == 60


def test_a_resumed_run_refuses_another_model(tmp_path: Path) -> None:
    log = run(tmp_path)
    change_settings(log.path, "good", model="fake-2")
    with pytest.raises(UsageError, match="'good' has answered with model fake-1 and now has fake-2"):
        resume(tmp_path)


def test_the_observer_hears_every_line(tmp_path: Path) -> None:
    heard: list[str] = []
    totals: dict[str, tuple[int, int]] = {}
    observer = Observer(started=totals.update, line=lambda backend, line: heard.append(backend))
    run(tmp_path, observer=observer)
    assert totals == {"good": (0, 60), "bad": (0, 60)}
    assert Counter(heard) == {"good": 60, "bad": 60}


def test_two_backends_of_one_run_are_compared_on_the_same_rows(tmp_path: Path) -> None:
    pair = next(p for p in summary(run(tmp_path)).pairs if p.metric == "accuracy")
    assert {pair.a, pair.b} == {"good", "bad"}
    assert pair.rows == 60
    sign = 1 if pair.a == "good" else -1
    assert pair.difference.value == pytest.approx(sign * 20 / 60)
    assert pair.verdict == ("a better" if pair.a == "good" else "b better")


def test_an_interruption_before_anything_was_asked_leaves_nothing_and_promises_nothing(tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError, match="before anything was asked") as error:
        run(tmp_path, backends={"good": {"interrupt": True}})
    assert "--resume" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_task_whose_requests_share_an_id_is_refused_before_answers_are_mixed_up(tmp_path: Path) -> None:
    options: dict[str, Any] = {"settings": settings(good={}), "workspace": Workspace(tmp_path), "out": tmp_path / "run"}
    with pytest.raises(UsageError, match=r"the request carries the id same, not the row's own.*id=sample\.id"):
        runner.run("tests.support.fakes:OneId", ["good"], **options)
    assert not FakeBackend.asked


def test_a_refused_run_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        run(tmp_path, backends={"late": {"refuse": True}})
    assert not (tmp_path / "run").exists()
