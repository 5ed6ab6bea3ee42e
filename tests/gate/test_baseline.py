"""A baseline is a file to be committed: small, readable in a diff, and not to be edited or cut unnoticed."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.errors import IncompleteRunError, NotComparableError, UsageError
from harness.gating.baseline_file import Baseline, baseline_arm, make_baseline, read_baseline, write_baseline
from harness.gating.evaluate import GateSource
from harness.hashing import digest
from harness.metrics import CLASSIFICATION, Metric
from harness.records import Completion, Sample, Score
from harness.runs.run_log import RunLog
from harness.summary.summarise import summarise
from tests.gate.building import finished, make_run, right_but, sample


def _run(folder: Path, **options: object) -> RunLog:
    return finished(make_run(folder, {"a": right_but(3, garbled=(7,)), "b": right_but(error=())}, **options))  # type: ignore[arg-type]


def _written(folder: Path, **options: object) -> tuple[RunLog, Path]:
    log = _run(folder / "r", **options)
    write_baseline(folder / "main.json", make_baseline(log))
    return log, folder / "main.json"


def test_outcomes_survive_the_way_through_the_file(tmp_path: Path) -> None:
    log, path = _written(tmp_path)
    baseline = read_baseline(path)
    assert sorted(baseline.backends) == ["a", "b"]
    direct = GateSource.of_run(log).side("a")
    kept = baseline_arm(baseline, "a", path, baseline.ids())
    order = kept.positions(direct.ids)
    for name, values in direct.outcomes.values.items():
        np.testing.assert_array_equal(values, kept.outcomes.values[name][order])
    np.testing.assert_array_equal(direct.outcomes.answers, kept.outcomes.answers[order])


def test_it_takes_at_most_thirty_bytes_a_row(tmp_path: Path) -> None:
    sizes = []
    for rows in (500, 1500):
        log = finished(make_run(tmp_path / str(rows), {"a": right_but(*range(0, rows, 9))}, rows))
        write_baseline(tmp_path / f"{rows}.json", make_baseline(log))
        sizes.append((tmp_path / f"{rows}.json").stat().st_size)
    assert (sizes[1] - sizes[0]) / 1000 <= 30


def test_one_row_that_changes_is_one_line_of_the_diff(tmp_path: Path) -> None:
    lines = []
    for name, wrong in (("one", (3, 4)), ("two", (3, 7))):
        log = finished(make_run(tmp_path / name, {"a": right_but(*wrong)}))
        write_baseline(tmp_path / f"{name}.json", make_baseline(log))
        lines.append((tmp_path / f"{name}.json").read_text().splitlines())
    changed = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
    assert len([pair for pair in changed if not any(word in pair[0] for word in ("sha256", '"run"'))]) == 2


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    samples = [sample(k) for k in range(30)]
    made = [
        make_baseline(finished(make_run(tmp_path / name, {"a": lambda k, row, repeat: row.reference}, rows)))
        for name, rows in (("x", samples), ("y", samples[::-1]))
    ]
    assert made[0].rows == made[1].rows
    assert (made[0].fingerprint, made[0].prompts) == (made[1].fingerprint, made[1].prompts)


def test_repeats_missing_answers_and_graded_values_are_kept(tmp_path: Path) -> None:
    grade = Metric(name="grade", row_value="grade", proportion=False)

    def score(k: int, done: Completion, row: Sample) -> Score:
        return Score(correct=k % 2 == 0, values={"grade": 1 + k / 7, "short": 1.0})

    log = make_run(
        tmp_path / "r",
        {"a": right_but(missing=(4,))},
        rows=500,
        repeats=2,
        metrics=(grade, *CLASSIFICATION),
        score=score,
    )
    log.write_summary(summarise(log, (grade, *CLASSIFICATION)))
    write_baseline(tmp_path / "main.json", make_baseline(log))
    stored = read_baseline(tmp_path / "main.json")
    kept = baseline_arm(stored, "a", tmp_path / "main.json", stored.ids())
    direct = GateSource.of_run(log).side("a")
    order = kept.positions(direct.ids)
    np.testing.assert_array_equal(direct.outcomes.values["grade"], kept.outcomes.values["grade"][order])
    np.testing.assert_array_equal(direct.outcomes.answers, kept.outcomes.answers[order])
    assert kept.unanswered == 2


def test_a_run_that_lacks_answers_is_no_baseline(tmp_path: Path) -> None:
    log = finished(make_run(tmp_path / "r", {"a": right_but(error=(1, 2))}))
    with pytest.raises(IncompleteRunError, match="'a' lacks 2 of 60 answers"):
        make_baseline(log)
    unfinished = make_run(tmp_path / "s", {"a": right_but()})
    with pytest.raises(IncompleteRunError, match="has not ended"):
        make_baseline(unfinished)


def test_no_file_is_no_baseline_and_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotComparableError, match="bench baseline accept RUN"):
        read_baseline(tmp_path / "main.json")


@pytest.mark.parametrize("keep", [0, 10, 0.5, -3])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    _, path = _written(tmp_path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep) if 0 < keep < 1 else int(keep)])
    with pytest.raises(UsageError, match=r"main\.json"):
        read_baseline(path)


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    _, path = _written(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"parser": "1"', '"parser": "2"'))
    with pytest.raises(UsageError, match="not as it was accepted"):
        read_baseline(path)


def _reseal(path: Path, change: object) -> None:
    baseline = msgspec.json.decode(path.read_bytes(), type=Baseline)
    changed = change(baseline)  # type: ignore[operator]
    write_baseline(path, msgspec.structs.replace(changed, sha256=changed.seal()))


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    _, path = _written(tmp_path)
    _reseal(path, lambda b: msgspec.structs.replace(b, schema=99))
    with pytest.raises(UsageError, match=r"schema 99.*update Bench"):
        read_baseline(path)


def test_a_row_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    _, path = _written(tmp_path)
    _reseal(path, lambda b: msgspec.structs.replace(b, rows=(*b.rows, b.rows[0])))
    with pytest.raises(UsageError, match="occurs twice"):
        read_baseline(path)


@pytest.mark.parametrize("cell", ["zz 0", "", "-1 0", "0.0 0"])
def test_a_cell_that_cannot_be_read_is_refused(tmp_path: Path, cell: str) -> None:
    _, path = _written(tmp_path)

    def change(b: Baseline) -> Baseline:
        return msgspec.structs.replace(b, rows=(f"{b.rows[0].split()[0]} {cell}".strip(), *b.rows[1:]))

    _reseal(path, change)
    damaged = read_baseline(path)
    with pytest.raises(UsageError, match="cannot be read"):
        baseline_arm(damaged, "a", path, damaged.ids())


def test_something_else_is_not_a_baseline(tmp_path: Path) -> None:
    log, _ = _written(tmp_path)
    with pytest.raises(UsageError, match="if it should be a baseline"):
        read_baseline(log.path / "summary.json")


def test_the_seal_is_over_everything_but_itself(tmp_path: Path) -> None:
    _, path = _written(tmp_path)
    raw = msgspec.json.decode(path.read_bytes())
    sealed = raw.pop("sha256")
    assert digest(raw) == sealed
