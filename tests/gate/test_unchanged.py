"""An unchanged model has a verdict of its own: identical answers, which is more than identical outcomes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ExitCode
from harness.gating.baseline_file import ADDITIONS, make_baseline, read_baseline, write_baseline
from harness.gating.ci_outputs import annotations, junit_xml, markdown
from harness.records import BackendIdentity, Completion, Sample, Score
from harness.scoring.label_parsing import score_label
from tests.gate.building import LABELS, ONE_IN_TEN, ROWS, finished, judged, make_run, right_but, runs

BOTH = {"accuracy": {"margin": 0.02}, "format_error_rate": {"margin": 0.01}}


def test_identical_answers_do_not_block_and_are_said_in_every_output(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*range(0, 60, 10)), rows=60)
    result = judged(tmp_path, run, baseline, table=BOTH, on_inconclusive="block")
    assert (result.verdict, result.exit_code, result.passed) == ("unchanged", ExitCode.DONE, True)
    assert {check.verdict for check in result.checks} == {"unchanged"}
    assert result.headline == "UNCHANGED: all 60 answers are the same text as in the reference."
    for page in (markdown(result), junit_xml(result).decode(), "\n".join(annotations(result))):
        assert "UNCHANGED" in page or "the same text as in the reference" in page


def test_a_limit_that_is_not_kept_still_fails_an_unchanged_model(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN))
    table = {"accuracy": {"margin": 0.02, "at_least": 0.95}}
    result = judged(tmp_path, run, baseline, table=table)
    assert result.verdict == "fail"
    kept = judged(tmp_path, run, baseline, table={"accuracy": {"margin": 0.02, "at_least": 0.85}})
    assert kept.verdict == "unchanged" and kept.headline.endswith("The 1 other check passes.")


def test_identical_outcomes_of_other_texts_are_judged_as_ever(tmp_path: Path) -> None:
    def reworded(name: str, k: int, done: Completion) -> Completion:
        return msgspec.structs.replace(done, text=f"{done.text}.")

    def read(k: int, done: Completion, row: Sample) -> Score:
        return score_label(msgspec.structs.replace(done, text=done.text.rstrip(".")), row.reference, LABELS)

    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN), completion=reworded, score=read)
    result = judged(tmp_path, run, baseline)
    assert (result.verdict, result.checks[0].differing) == ("pass", 0)
    few, baseline = runs(
        _made(tmp_path / "few"), right_but(*range(0, 60, 10)), rows=60, completion=reworded, score=read
    )
    result = judged(tmp_path, few, baseline)
    assert result.verdict == "inconclusive" and "73 more rows (133 in all)" in result.checks[0].sentence


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("rows", "verdict"), [(60, "inconclusive"), (ROWS, "unchanged")])
def test_another_model_with_the_same_answers_raises_doubt_and_needs_its_rows(
    tmp_path: Path, rows: int, verdict: str
) -> None:
    other = {
        "a": BackendIdentity(kind="local", model="another", decode="generate", adapter="b", adapter_sha256="b" * 64)
    }
    run, baseline = runs(tmp_path, right_but(*range(0, rows, 10)), rows=rows, identities=other)
    result = judged(tmp_path, run, baseline)
    assert result.verdict == verdict
    assert "although the models differ (another with b; a-1)" in result.warnings[0]


def test_answers_from_the_cache_are_said_to_hide_a_server_that_got_worse(tmp_path: Path) -> None:
    def cached(name: str, k: int, done: Completion) -> Completion:
        return msgspec.structs.replace(done, cached=True)

    served: dict[str, Any] = {"identities": {"a": BackendIdentity(kind="openai", model="a-1", decode="generate")}}
    run, baseline = runs(tmp_path, right_but(*range(0, 60, 10)), rows=60, completion=cached, **served)
    result = judged(tmp_path, run, baseline)
    assert result.verdict == "unchanged"
    [line] = [line for line in result.warnings if "cache" in line]
    assert line.startswith("a: 60 of 60 answers came from the answer cache") and "bench run --no-cache" in line
    asked, _ = runs(_made(tmp_path / "asked"), right_but(*range(0, 60, 10)), rows=60, **served)
    assert not any("cache" in line for line in judged(tmp_path, asked, baseline).warnings)


def test_a_baseline_of_an_older_version_knows_no_texts_and_says_so(tmp_path: Path) -> None:
    run, path = runs(tmp_path, right_but(*ONE_IN_TEN))
    old = read_baseline(path)
    old = msgspec.structs.replace(old, data={k: v for k, v in old.data.items() if k != ADDITIONS})
    write_baseline(path, msgspec.structs.replace(old, sha256=old.seal()))
    result = judged(tmp_path, run, path)
    assert (result.verdict, result.checks[0].verdict) == ("inconclusive", "inconclusive")
    assert "A baseline accepted again keeps which texts were answered." in result.warnings[0]


def test_two_backends_of_one_run_with_equal_answers_are_unchanged_in_doubt(tmp_path: Path) -> None:
    run = finished(make_run(tmp_path / "r", {"a": right_but(3), "b": right_but(3)}, 400))
    result = judged(tmp_path, run, candidate="a", reference="b")
    assert result.verdict == "unchanged" and "although the models differ (a-1; b-1)" in result.warnings[0]


def test_drift_against_the_first_accepted_baseline_fails_although_every_step_passed(tmp_path: Path) -> None:
    """Three steps of 1.2 points each stay within a margin of 2; together they do not."""
    from harness.gating.baseline_file import keep_first

    path, table = tmp_path / "main.json", {"accuracy": {"margin": 0.02}}
    verdicts = []
    for step in range(4):
        wrong = tuple(range(0, ROWS, 10)) + tuple(range(1, 180 * step, 10))
        run = finished(make_run(tmp_path / f"run{step}", {"a": right_but(*wrong)}, ROWS))
        if step:
            result = judged(tmp_path, run, path, table=table)
            verdicts.append([(check.scope, check.verdict) for check in result.checks])
        made, said = keep_first(make_baseline(run), path)
        assert ("the first accepted one (run0, 2026-01-05)" in said) == bool(step)
        write_baseline(path, made)
    assert verdicts[-1][-1] == ("first", "fail")
    first = read_baseline(path).first
    assert first is not None and first.run == "run0" and first.first is None
