"""What can be gated: limits, cost, error rate, latency, classes and slices; and the settings that say so."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ExitCode, UsageError
from harness.records import BackendIdentity, Completion, Cost, Timing
from harness.runs.run_log import RunLog
from harness.statistics.proportions import clopper_pearson
from tests.gate.building import ROWS, finished, judged, make_run, only, right_but, runs, sample, shifted


def test_format_errors_are_gated_by_their_upper_bound(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(5), rows=100)
    table = {"format_error_rate": {"at_most": 0.02}}
    check = only(judged(tmp_path, run, baseline, table=table), "format_error_rate")
    assert check.verdict == "inconclusive" and check.candidate == 0
    assert check.high == pytest.approx(0.0295, abs=1e-4)
    assert check.needed_rows == 149
    assert "0.0 [0.0, 3.0] % against a limit of 2.0 %; about 49 more rows (149 in all)" in check.sentence


def test_a_lower_limit_holds_for_metrics_where_more_is_better(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    result = judged(tmp_path, run, baseline, table={"accuracy": {"at_least": 0.85}, "macro_f1": {"at_least": 0.95}})
    assert only(result).verdict == "pass"
    assert only(result, "macro_f1").verdict == "fail"


def test_an_open_limit_says_how_many_rows_would_decide_and_never_that_none_would(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(5, 15), rows=100)
    low, above = (
        {"accuracy": {"at_least": 0.95}},
        {"format_error_rate": {"at_most": 0.001}, "accuracy": {"margin": 0.5}},
    )
    check = only(judged(tmp_path, run, baseline, table=low))
    assert check.verdict == "inconclusive" and check.needed_rows is not None and check.needed_rows > 100
    assert "more rows" in check.sentence
    garbled = finished(make_run(tmp_path / "g", {"a": right_but(garbled=(7,))}, 100))
    check = only(judged(tmp_path, garbled, baseline, table=above), "format_error_rate")
    assert (check.verdict, check.needed_verdict) == ("inconclusive", "fail")
    assert "would show that it is too bad" in check.sentence


def test_cost_is_gated_at_list_price_and_never_at_cache_price(tmp_path: Path) -> None:
    def cached(name: str, k: int, c: Completion) -> Completion:
        return msgspec.structs.replace(c, cached=True, cost=Cost(list=0.002, incurred=0.0))

    run, baseline = runs(tmp_path, right_but(*shifted()), completion=cached)
    result = judged(tmp_path, run, baseline, table={"cost_per_1000": {"ratio": 1.5, "at_most": 3.0}})
    by_kind = {c.kind: c for c in result.checks}
    assert by_kind["ratio"].difference == pytest.approx(2.0)
    assert (by_kind["ratio"].verdict, by_kind["absolute"].verdict) == ("fail", "pass")


def test_an_unknown_price_is_not_a_pass(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(), completion=lambda n, k, c: msgspec.structs.replace(c, cost=Cost()))
    result = judged(tmp_path, run, baseline, table={"cost_per_1000": {"at_most": 3.0}})
    assert result.exit_code == ExitCode.NOT_COMPARABLE
    assert "the cost of a is unknown" in result.checks[0].sentence


def test_the_error_rate_can_be_gated(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted(), error=(3, 4)))
    check = only(judged(tmp_path, run, baseline, table={"error_rate": {"at_most": 0.01}}), "error_rate")
    assert check.verdict == "pass" and check.candidate == pytest.approx(2 / ROWS)


def _probed(folder: Path, times: tuple[float, float]) -> RunLog:
    log = make_run(folder, {"a": right_but(0), "b": right_but(1)})
    for name, seconds in zip("ab", times, strict=True):
        with log.writer(name, probe=True) as writer:
            for row in list(log.rows())[:10]:
                done = Completion(id=row.sample.id, text="World", finish="stop", timing=Timing(service_s=seconds))
                writer.append(row.n, done, None)
    return finished(log)


def test_latency_is_advice_until_five_runs_have_probed_both_sides(tmp_path: Path) -> None:
    logs = [_probed(tmp_path / str(k), (0.2 + k / 200, 0.19 + k / 210)) for k in range(6)]
    table = {"latency_p50": {"ratio": 1.2}, "accuracy": {"margin": 0.5}}
    options: dict[str, Any] = {"candidate": "a", "reference": "b", "table": table}
    alone = only(judged(tmp_path, logs[0], **options), "latency_p50")
    assert alone.verdict == "advisory" and "a verdict needs 5 runs" in alone.sentence
    many = judged(tmp_path, logs[0], latency_runs=[log.path for log in logs], **options)
    assert only(many, "latency_p50").verdict == "pass"
    strict = {**options, "table": {**table, "latency_p50": {"ratio": 1.01}}}
    slow = judged(tmp_path, logs[0], latency_runs=[log.path for log in logs], **strict)
    assert only(slow, "latency_p50").verdict == "fail"


def test_one_run_named_five_times_or_a_probe_of_another_model_is_no_evidence_of_latency(tmp_path: Path) -> None:
    logs = [_probed(tmp_path / str(k), (0.2, 0.19)) for k in range(2)]
    options: dict[str, Any] = {"candidate": "a", "reference": "b", "table": {"latency_p50": {"ratio": 1.2}}}
    with pytest.raises(UsageError, match="is named twice: a run counts once"):
        judged(tmp_path, logs[0], latency_runs=[logs[0].path] * 5, **options)
    other = BackendIdentity(kind="replay", model="a-2", decode="generate")
    logs[1].update_manifest(
        msgspec.structs.replace(logs[1].manifest, backends={**logs[1].manifest.backends, "a": other})
    )
    with pytest.raises(UsageError, match=r"'a' is another model or adapter there \(a-2\)"):
        judged(tmp_path, logs[0], latency_runs=[log.path for log in logs], **options)


def test_a_limit_on_f1_is_not_kept_by_a_handful_of_right_answers(tmp_path: Path) -> None:
    """A bootstrap of 30 rows without an error calls 100 % a certainty."""
    run, baseline = runs(tmp_path, right_but(), rows=30)
    check = only(judged(tmp_path, run, baseline, table={"macro_f1": {"at_least": 0.95}}), "macro_f1")
    assert check.verdict == "inconclusive" and "widened" in check.method
    (tmp_path / "many").mkdir()
    many, baseline = runs(tmp_path / "many", right_but(*shifted()))
    assert only(judged(tmp_path, many, baseline, table={"macro_f1": {"at_least": 0.85}}), "macro_f1").verdict == "pass"


def test_a_limit_on_a_rate_over_groups_is_kept_by_an_exact_bound(tmp_path: Path) -> None:
    """One garbled answer in 100 groups of two: Student's t would bound the rate by 1.3 %, 95 times in 100 it is not."""
    samples = [sample(k, group=f"g{k // 2}") for k in range(200)]
    run = finished(make_run(tmp_path / "r", {"a": right_but(garbled=(7,)), "b": right_but(1)}, samples))
    table = {"format_error_rate": {"at_most": 0.014}, "accuracy": {"at_least": 0.9}}
    result = judged(tmp_path, run, candidate="a", reference="b", table=table)
    check = only(result, "format_error_rate")
    assert check.verdict == "inconclusive" and check.high == pytest.approx(clopper_pearson(1, 200, 0.9)[1], rel=0.05)
    assert "Clopper-Pearson" in check.method and "effective sample size" in check.method
    assert only(result).verdict == "pass"


def test_a_limit_that_one_group_cannot_bound_says_so(tmp_path: Path) -> None:
    samples = [sample(k, group="one") for k in range(60)]
    run = finished(make_run(tmp_path / "r", {"a": right_but(3), "b": right_but(1)}, samples))
    result = judged(tmp_path, run, candidate="a", reference="b", table={"accuracy": {"at_least": 0.5}})
    assert result.exit_code == ExitCode.NOT_COMPARABLE
    assert only(result).sentence == "accuracy: no interval: one of the groups only."


def test_classes_and_slices_are_shown_and_never_gated(tmp_path: Path) -> None:
    samples = [sample(k, column="wire" if k % 2 else "blog") for k in range(600)]
    reference = finished(make_run(tmp_path / "reference", {"a": right_but()}, samples))
    lost = tuple(range(0, 600, 6))  # all of class World and of the blog
    run = finished(make_run(tmp_path / "r", {"a": right_but(*lost)}, samples))
    result = judged(tmp_path, run, reference.path, table={"accuracy": {"margin": 0.5}, "slices": ["source"]})
    assert result.verdict == "pass"
    found = {(d.column, d.value): d for d in result.diagnostics}
    assert set(found) == {
        *(("class", c) for c in ("World", "Sports", "Business")),
        ("source", "blog"),
        ("source", "wire"),
    }
    assert found["class", "World"].p_corrected < 0.001 and found["class", "Sports"].p_corrected == 1
    assert found["source", "blog"].candidate == pytest.approx(2 / 3)
    assert len(result.flips) == 10
    with pytest.raises(UsageError, match="no column 'sorce'; did you mean 'source'"):
        judged(tmp_path, run, reference.path, table={"accuracy": {"margin": 0.5}, "slices": ["sorce"]})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"acuracy": {"margin": 0.02}}, "unknown key 'acuracy'; did you mean 'accuracy'"),
        ({"accuracy": {"margn": 0.02}}, "unknown key 'margn'; did you mean 'margin'"),
        ({"accuracy": {"at_most": 0.02}}, "'at_most' does not apply to it"),
        ({"accuracy": {"margin": 0}}, "margin must be above 0"),
        ({"accuracy": {"margin": -0.1}}, "margin must be above 0"),
        ({"accuracy": {"margin": 2}}, "margin is a share of rows, 0.02 for 2 %, and not 2"),
        ({"macro_f1": {"at_least": 95}}, "at_least is a share of rows, 0.02 for 2 %, and not 95"),
        ({"error_rate": {"at_most": 1.0}}, "at_most is a share of rows"),
        ({"cost_per_1000": {"at_most": float("nan")}}, "at_most must be a number, not nan"),
        ({"accuracy": {}}, "name a term"),
        ({"accuracy": 0.02}, "must be a table"),
        ({"accuracy": {"margin": "2 %"}}, "Expected `float | null`, got `str`"),
        ({"on_inconclusive": "ignore"}, "Invalid enum value 'ignore'"),
        ({"max_error_rate": 2}, r"must lie in \[0, 1\)"),
        ({"latency_p50": {"margin": 1.0}}, "'margin' does not apply"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    run, baseline = runs(tmp_path, right_but(), rows=30)
    with pytest.raises(UsageError, match=message):
        judged(tmp_path, run, baseline, table=table)


def test_flags_lie_over_the_settings_and_without_any_the_defaults_are_named(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    flags = {"accuracy": {"margin": 0.001}}
    assert only(judged(tmp_path, run, baseline, flags=flags)).verdict == "inconclusive"
    defaulted = judged(tmp_path, run, baseline, table={})
    assert [(c.metric, c.margin) for c in defaulted.checks] == [("accuracy", 0.02), ("format_error_rate", 0.01)]
    assert any("these margins are Bench's defaults" in w for w in defaulted.warnings)
    with pytest.raises(UsageError, match="no figure 'acc' to gate"):
        judged(tmp_path, run, baseline, flags={"acc": {"margin": 0.1}})
