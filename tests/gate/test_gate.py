"""The gate: four verdicts, refusals, and the right exit code for every kind of input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ExitCode, IncompleteRunError, NotComparableError, UsageError
from harness.metrics import ACCURACY, CLASSIFICATION, MACRO_F1
from harness.records import BackendIdentity, Cost, Sample
from harness.statistics.proportions import harm_p
from harness.summary.summarise import summarise
from tests.gate.building import ONE_IN_TEN, ROWS, finished, judged, make_run, only, right_but, runs, sample, shifted


def test_an_equal_candidate_with_other_errors_passes(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    result = judged(tmp_path, run, baseline)
    check = only(result)
    assert (result.verdict, result.exit_code) == ("pass", ExitCode.DONE)
    assert check.low is not None and -0.02 < check.low < 0 < (check.high or 0)
    assert check.differing == 150 and check.rows == ROWS
    assert result.headline == "PASS: the 1 check, 1,500 rows."
    assert "1,500 rows in common, 150 of them with another accuracy" in result.resolution


def test_a_much_worse_candidate_fails(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN, *range(1, ROWS, 10)))
    result = judged(tmp_path, run, baseline)
    assert (result.verdict, result.exit_code) == ("fail", ExitCode.GATE_FAILED)
    assert only(result).difference == pytest.approx(-0.1)


def test_a_loss_that_is_shown_to_be_real_fails_although_it_may_lie_within_the_margin(tmp_path: Path) -> None:
    """Tango's upper bound is above -margin, but the exact harm test leaves no doubt."""
    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN, *range(1, 300, 10)))
    check = only(judged(tmp_path, run, baseline))
    assert check.low is not None and check.high is not None
    assert check.low < -0.02 < check.high
    assert check.harm_p_holm is not None and check.harm_p_holm < 0.001
    assert check.verdict == "fail"


def test_too_few_rows_are_inconclusive_and_say_how_many_more_would_decide(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(5, 15, 25), rows=60)
    result = judged(tmp_path, run, baseline)
    check = only(result)
    assert (result.verdict, result.exit_code) == ("inconclusive", ExitCode.DONE)
    assert check.needed_rows is not None and check.needed_rows > 60
    assert "more rows" in check.sentence
    blocking = judged(tmp_path, run, baseline, on_inconclusive="block")
    assert (blocking.verdict, blocking.exit_code) == ("inconclusive", ExitCode.INCONCLUSIVE)


def test_passing_needs_every_check_to_pass(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted(), garbled=tuple(range(2, 700, 20))))
    table = {"accuracy": {"margin": 0.05}, "format_error_rate": {"margin": 0.01}}
    result = judged(tmp_path, run, baseline, table=table)
    assert only(result).verdict == "pass"
    assert only(result, "format_error_rate").verdict == "fail"
    assert result.exit_code == ExitCode.GATE_FAILED


def test_backends_are_never_pooled(tmp_path: Path) -> None:
    """80 % of one and 100 % of the other are not 90 % of both."""
    before = {name: right_but(*ONE_IN_TEN) for name in "ab"}
    reference = finished(make_run(tmp_path / "reference", before, ROWS))
    run = finished(make_run(tmp_path / "r", {"a": right_but(*range(0, ROWS, 5)), "b": right_but()}, ROWS))
    result = judged(tmp_path, run, reference.path)
    assert {c.backend: c.verdict for c in result.checks} == {"a": "fail", "b": "pass"}
    assert (result.verdict, result.exit_code) == ("fail", ExitCode.GATE_FAILED)


@pytest.mark.parametrize(
    ("second", "code"),
    [
        ({"cost_per_1000": {"at_most": 3.0}}, ExitCode.NOT_COMPARABLE),  # its price is unknown: 4 goes before 1
        ({"format_error_rate": {"margin": 0.0001}}, ExitCode.GATE_FAILED),  # inconclusive: 1 goes before 5
    ],
)
def test_of_several_exit_codes_the_graver_one_is_taken(tmp_path: Path, second: dict[str, Any], code: ExitCode) -> None:
    worse = right_but(*ONE_IN_TEN, *range(1, ROWS, 10))
    run, baseline = runs(tmp_path, worse, completion=lambda n, k, c: msgspec.structs.replace(c, cost=Cost()))
    table = {"accuracy": {"margin": 0.02}, **second}
    result = judged(tmp_path, run, baseline, table=table, on_inconclusive="block")
    assert only(result).verdict == "fail"
    assert result.exit_code == code


def test_harm_is_corrected_over_all_checks(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted(2)))
    table = {m.name: {"margin": 0.02} for m in CLASSIFICATION}
    result = judged(tmp_path, run, baseline, table=table)
    raw = sorted(c.harm_p for c in result.checks if c.harm_p is not None)
    corrected = sorted(c.harm_p_holm for c in result.checks if c.harm_p_holm is not None)
    assert len(raw) == len(CLASSIFICATION)
    assert corrected[0] == pytest.approx(min(1, len(raw) * raw[0]))


def test_macro_f1_is_gated_by_a_paired_bootstrap(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    check = only(judged(tmp_path, run, baseline, table={"macro_f1": {"margin": 0.02}}), "macro_f1")
    assert check.verdict == "pass" and "bootstrap" in check.method


def test_every_row_equal_is_never_a_pass(tmp_path: Path) -> None:
    """Zero discordance: the candidate may be the baseline itself, mistaken for a new one. Nothing has changed."""
    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN))
    result = judged(tmp_path, run, baseline)
    assert (result.verdict, result.exit_code) == ("unchanged", ExitCode.DONE)
    assert "every row has the same outcome" in result.warnings[0]
    assert judged(tmp_path, run, baseline, on_inconclusive="block").exit_code == ExitCode.DONE


def test_one_row_is_never_a_pass(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(), rows=1)
    result = judged(tmp_path, run, baseline, table={m.name: {"margin": 0.02} for m in CLASSIFICATION})
    assert result.verdict == "inconclusive"
    assert all(c.verdict != "pass" for c in result.checks)


def test_f1_of_a_few_equal_rows_is_no_pass_although_a_bootstrap_of_them_is_certain(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(0, 10, 20, 30, 44), rows=60)
    check = only(judged(tmp_path, run, baseline, table={"macro_f1": {"margin": 0.02}}), "macro_f1")
    assert check.verdict == "inconclusive" and "widened" in check.method


def test_rows_that_the_candidate_is_missing_count_as_wrong(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted(), error=(3, 13), missing=(23,)))
    result = judged(tmp_path, run, baseline)
    assert only(result).candidate == pytest.approx((ROWS - 150 - 3) / ROWS)
    assert any("3 of 1500 answers are missing; they count as wrong" in w for w in result.warnings)


def test_a_row_without_an_answer_is_not_shown_as_a_flip(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN, 1, missing=(2, 3)))
    assert [flip.text for flip in judged(tmp_path, run, baseline).flips] == ["item 1"]


def test_too_many_infrastructure_errors_give_no_verdict(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted(), error=tuple(range(1, 170, 10))))
    result = judged(tmp_path, run, baseline)
    assert (result.verdict, result.exit_code) == ("incomplete", ExitCode.INCOMPLETE)
    assert "lacks 17 of 1500 answers (17 infrastructure errors), more than 1 %" in result.reasons[0]
    lenient = judged(tmp_path, run, baseline, table={"max_error_rate": 0.05, "accuracy": {"margin": 0.05}})
    assert lenient.verdict == "pass"


def test_a_run_that_has_not_ended_is_not_gated(tmp_path: Path) -> None:
    _, baseline = runs(tmp_path, right_but())
    with pytest.raises(IncompleteRunError, match="has not ended"):
        judged(tmp_path, make_run(tmp_path / "killed", {"a": right_but()}), baseline)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"prompt": "Say which topic: "}, "the prompts differ"),
        ({"parser": "2"}, "versions of the task's parser and scoring differ: 2 here, 1 in the reference"),
        ({"rows": ROWS - 1}, f"the rows differ: {ROWS - 1} here, {ROWS} in the reference, {ROWS - 1} common"),
        ({"rows": [sample(k) for k in range(5000, 5060)]}, "no row is common"),
        (
            {"identities": {"a": BackendIdentity(kind="replay", model="m", decode="head")}},
            "another decode mode: head here, generate",
        ),
        ({"changes": {"task": "other"}}, "the tasks differ: other here, topics in the reference"),
    ],
)
def test_what_is_not_comparable_is_refused(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    _, baseline = runs(tmp_path, right_but())
    options = {"rows": ROWS, **options}
    run = finished(make_run(tmp_path / "other", {"a": right_but(5)}, **options))
    result = judged(tmp_path, run, baseline)
    assert (result.verdict, result.exit_code) == ("incomparable", ExitCode.NOT_COMPARABLE)
    assert reason in " ".join(result.reasons)


def test_a_metric_of_another_version_is_refused(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    newer = msgspec.structs.replace(ACCURACY, version=2)
    summary = run.summary()
    assert summary is not None
    run.write_summary(msgspec.structs.replace(summary, metrics=(newer, MACRO_F1)))
    result = judged(tmp_path, run, baseline)
    assert result.exit_code == ExitCode.NOT_COMPARABLE
    assert "the metric accuracy differs: version 2 here, 1 in the reference." in result.reasons


def test_a_metric_that_the_reference_has_not_measured_is_not_comparable(tmp_path: Path) -> None:
    reference = make_run(tmp_path / "reference", {"a": right_but(*ONE_IN_TEN)}, ROWS, metrics=(ACCURACY,))
    reference.write_summary(summarise(reference, (ACCURACY,)))
    run, _ = runs(tmp_path, right_but(*shifted()))
    table = {"lenient_accuracy": {"margin": 0.02}, "accuracy": {"margin": 0.02}}
    result = judged(tmp_path, run, reference.path, table=table)
    assert (only(result).verdict, result.exit_code) == ("pass", ExitCode.NOT_COMPARABLE)
    assert only(result, "lenient_accuracy").sentence == "no row has a lenient_accuracy on both sides."


def test_a_first_run_without_baseline_is_not_green(tmp_path: Path) -> None:
    run, _ = runs(tmp_path, right_but())
    for baseline in (None, tmp_path / "none.json"):
        with pytest.raises(NotComparableError, match="bench baseline accept RUN") as caught:
            judged(tmp_path, run, baseline)
        assert caught.value.exit_code == 4


def test_duplicated_ids_are_refused(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    path = run.path / "samples.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], lines[0].replace(b'"n":0', f'"n":{ROWS - 1}'.encode())]))
    with pytest.raises(UsageError, match="occurs twice"):
        judged(tmp_path, run, baseline)


@pytest.mark.parametrize("value", [b"null", b"NaN", b'"x"'])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, value: bytes) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    path = run.log_path("a")
    line = path.read_bytes().splitlines()[0]
    path.write_bytes(path.read_bytes() + line.replace(b'"score":{', b'"score":{"values":{"x":' + value + b"},") + b"\n")
    with pytest.raises(UsageError, match="not a line of this Bench"):
        judged(tmp_path, run, baseline)


def test_a_metric_that_is_not_defined_where_the_candidate_answered_is_not_comparable(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    path = run.log_path("a")
    path.write_bytes(path.read_bytes().replace(b'"correct":true', b'"correct":null', 5))
    result = judged(tmp_path, run, baseline)
    assert result.exit_code == ExitCode.NOT_COMPARABLE
    assert "accuracy is not defined for" in only(result).sentence


def test_two_backends_of_one_run_can_be_gated(tmp_path: Path) -> None:
    answers = {"tuned": right_but(*shifted()), "api": right_but(*ONE_IN_TEN)}
    heads = {"tuned": BackendIdentity(kind="local", model="m", decode="head")}
    run = finished(make_run(tmp_path / "r", answers, ROWS, identities=heads))
    result = judged(
        tmp_path,
        run,
        candidate="tuned",
        reference="api",
        table={"accuracy": {"margin": 0.02}, "format_error_rate": {"margin": 0.01, "at_most": 0.02}},
    )
    assert result.verdict == "pass"
    formats = [c for c in result.checks if c.metric == "format_error_rate"]
    assert {c.verdict for c in formats} == {"advisory"}
    with pytest.raises(NotComparableError, match="compared with itself"):
        judged(tmp_path, run, candidate="api", reference="api")
    with pytest.raises(UsageError, match="did you mean 'tuned'"):
        judged(tmp_path, run, candidate="tunned", reference="api")
    with pytest.raises(UsageError, match="use --candidate as well"):
        judged(tmp_path, run, run.path, reference="api")


def test_a_gate_that_checks_nothing_is_never_a_pass(tmp_path: Path) -> None:
    heads = {name: BackendIdentity(kind="local", model="m", decode="head") for name in "ab"}
    run = finished(make_run(tmp_path / "r", {"a": right_but(), "b": right_but(1)}, identities=heads))
    result = judged(tmp_path, run, candidate="a", reference="b", table={"format_error_rate": {"margin": 0.01}})
    assert (result.verdict, result.exit_code) == ("incomparable", ExitCode.NOT_COMPARABLE)


def test_backends_are_matched_by_name_and_no_common_name_is_refused(tmp_path: Path) -> None:
    _, baseline = runs(tmp_path, right_but())
    both = finished(make_run(tmp_path / "both", {"a": right_but(*shifted()), "new": right_but()}, ROWS))
    assert {c.backend for c in judged(tmp_path, both, baseline).checks} == {"a"}
    renamed = finished(make_run(tmp_path / "renamed", {"z": right_but(*shifted())}, ROWS))
    with pytest.raises(NotComparableError, match="no backend is common"):
        judged(tmp_path, renamed, baseline)
    named = judged(tmp_path, renamed, baseline, candidate="z", reference="a")
    assert named.verdict == "pass" and only(named).backend == "z against a"


def test_another_run_can_stand_for_a_baseline(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted(4)))
    reference = finished(make_run(tmp_path / "reference", {"a": right_but(*ONE_IN_TEN)}, ROWS))
    from_file = judged(tmp_path, run, baseline)
    from_run = judged(tmp_path, run, reference.path)
    assert only(from_run) == only(from_file)


def test_repeats_are_averaged_before_they_are_compared(tmp_path: Path) -> None:
    def noisy(offset: int) -> Callable[[int, Sample, int], Any]:
        return lambda k, row, repeat: (
            right_but(k)(k, row, 0) if (7 * k + 3 * repeat + offset) % 10 == 0 else row.reference
        )

    reference = finished(make_run(tmp_path / "reference", {"a": noisy(0)}, ROWS, repeats=3))
    run = finished(make_run(tmp_path / "r", {"a": noisy(5)}, ROWS, repeats=3))
    check = only(judged(tmp_path, run, reference.path))
    assert check.verdict == "pass" and check.method.startswith("Student") and check.rows == ROWS


def test_three_rows_of_a_thousand_are_no_proof_of_harm_although_t_would_say_so(tmp_path: Path) -> None:
    def wavering(*wrong: int) -> Callable[[int, Sample, int], Any]:
        """Row 7 is right every other time, so that rows are worth shares and not single answers."""
        return lambda k, row, repeat: right_but(*wrong, *([7] if repeat else []))(k, row, repeat)

    reference = finished(make_run(tmp_path / "reference", {"a": wavering()}, ROWS, repeats=2))
    run = finished(make_run(tmp_path / "r", {"a": wavering(3, 400, 800)}, ROWS, repeats=2))
    check = only(judged(tmp_path, run, reference.path, table={"accuracy": {"margin": 0.001}}))
    assert check.harm_p == harm_p(3, 0) == 0.125
    assert check.verdict == "inconclusive"
