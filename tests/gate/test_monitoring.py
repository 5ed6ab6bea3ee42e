"""`bench monitor`: rows count once, the promise is stated, series of unlike runs are refused, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from harness.cli.monitor import monitor
from harness.errors import NotComparableError, UsageError
from harness.gating.evaluate import GateSource
from harness.gating.monitoring import monitor_runs, monitor_sentence
from harness.records import BackendIdentity, Sample
from harness.runs.run_log import RunLog
from tests.gate.building import finished, make_run, right_but, sample

SIZE = 150


def series(tmp_path: Path, shares: list[int], same_rows: bool = False) -> list[RunLog]:
    """Runs of SIZE rows; in the n-th, `a` is wrong on every `shares[n]`-th row and `b` never."""
    made = []
    for n, every in enumerate(shares):
        start = 0 if same_rows else n * SIZE
        rows = [sample(k) for k in range(start, start + SIZE)]
        wrong = right_but(*range(0, SIZE, every)) if every else right_but()
        made.append(
            finished(
                make_run(
                    tmp_path / f"day-{n}",
                    {"a": wrong, "b": right_but()},
                    rows,
                    changes={"created": f"2026-01-{n + 1:02}T10:00:00+00:00"},
                )
            )
        )
    return made


def sources(logs: list[RunLog]) -> list[GateSource]:
    return [GateSource.of_run(log) for log in logs]


def test_a_candidate_that_keeps_its_promise_raises_no_alarm(tmp_path: Path) -> None:
    found = monitor_runs(sources(series(tmp_path, [20, 20, 20])), "a", reference="b", margin=0.1)
    assert found.alarm is None
    assert [run.rows for run in found.runs] == [SIZE] * 3
    assert found.runs[0].candidate == pytest.approx(142 / 150)
    assert found.runs[0].reference == 1.0
    assert "450 rows of 3 runs do not refute that a loses at most 10 points of accuracy against b" in (
        monitor_sentence(found)
    )


def test_a_late_loss_raises_the_alarm_in_its_run(tmp_path: Path) -> None:
    logs = series(tmp_path, [0, 0, 2, 2])
    found = monitor_runs(sources(list(reversed(logs))), "a", reference="b", margin=0.02)
    assert found.alarm == "day-2", "runs are taken in the order of their time"
    assert [run.run for run in found.runs] == ["day-0", "day-1", "day-2", "day-3"]
    assert found.runs[1].p > 0.5 > 0.05 > found.runs[2].p
    assert "Alarm since run day-2" in monitor_sentence(found)


def test_the_candidates_own_figure_can_be_promised(tmp_path: Path) -> None:
    logs = series(tmp_path, [2, 2])
    assert monitor_runs(sources(logs), "a", at_least=0.9).alarm == "day-0"
    assert monitor_runs(sources(logs), "a", at_least=0.4).alarm is None
    errors = monitor_runs(sources(logs), "a", metric="format_error_rate", at_least=0.1)
    assert errors.alarm is None
    assert errors.promise == "format_error_rate of a is at most 10 %"


def test_rows_count_once(tmp_path: Path) -> None:
    found = monitor_runs(sources(series(tmp_path, [2, 2], same_rows=True)), "a", at_least=0.9)
    assert [(run.rows, run.repeated) for run in found.runs] == [(SIZE, 0), (0, SIZE)]
    assert found.runs[1].p == found.runs[0].p
    assert found.runs[1].candidate is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "say what is promised"),
        ({"margin": 0.02, "at_least": 0.9, "reference": "b"}, "say what is promised"),
        ({"margin": 0.02}, "--margin compares with a --reference"),
        ({"at_least": 0.5, "metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"at_least": 85}, "must lie between 0 and 1"),
        ({"at_least": 0.5, "metric": "macro_f1"}, "no mean of bounded row values"),
    ],
)
def test_a_promise_that_cannot_be_monitored_is_refused(tmp_path: Path, options: dict[str, object], words: str) -> None:
    logs = series(tmp_path, [0])
    with pytest.raises(UsageError, match=words):
        monitor_runs(sources(logs), "a", **options)  # type: ignore[arg-type]


def test_another_model_behind_the_same_name_starts_another_series(tmp_path: Path) -> None:
    answer: Callable[[int, Sample, int], str] = lambda k, row, repeat: row.reference  # noqa: E731
    logs = []
    for n, model in enumerate(("one", "two")):
        identity = {"a": BackendIdentity(kind="replay", model=model, decode="generate")}
        rows = [sample(k) for k in range(n * 10, n * 10 + 10)]
        logs.append(finished(make_run(tmp_path / model, {"a": answer}, rows, identities=identity)))
    with pytest.raises(NotComparableError, match=r"'a' is one in .* and two in .*: start a new series"):
        monitor_runs(sources(logs), "a", at_least=0.5)


def test_the_command_ends_with_1_on_an_alarm_and_writes_the_series_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    good, bad = (series(tmp_path / name, shares) for name, shares in (("good", [0, 0]), ("bad", [0, 2])))
    paths = [str(log.path) for log in good]
    quiet = CliRunner().invoke(monitor, [*paths, "--candidate", "a", "--at-least", "0.9"], standalone_mode=False)
    assert quiet.return_value == 0 and "No alarm" in quiet.output
    paths = [str(log.path) for log in bad]
    words = [*paths, "--candidate", "a", "--reference", "b", "--margin", "0.02", "--json", "--quiet"]
    loud = CliRunner().invoke(monitor, words, standalone_mode=False)
    assert loud.return_value == 1
    written = json.loads(loud.stdout)
    assert written["alarm"] == "day-1" and written["runs"][1]["rows"] == SIZE
    assert msgspec.json.encode(written)
