"""The summary: every figure of a run, with its interval, from the log alone."""

import tracemalloc
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.errors import UsageError
from harness.metrics import CLASSIFICATION, Metric
from harness.records import BackendIdentity, Completion, Cost, Failure, Key, Sample, Score, Timing
from harness.results import Summary
from harness.runs.run_log import RunLog, Session
from harness.statistics.proportions import exact_p, wilson
from harness.statistics.tango import tango_interval
from harness.summary.comparison import compare_means
from harness.summary.outcomes import Outcomes, RowTable
from harness.summary.summarise import summarise
from tests.gate.building import LABELS, make_run, right_but, sample


def _identity(**fields: object) -> BackendIdentity:
    return BackendIdentity(**{"kind": "openai", "model": "m", "decode": "generate", **fields})  # type: ignore[arg-type]


def test_rates_carry_wilsons_interval_and_wrong_format_is_wrong(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(0, 1, 2, garbled=(5, 6))})
    result = summarise(log, CLASSIFICATION).backends["a"]
    accuracy = result.metrics["accuracy"]
    assert accuracy.value == 55 / 60
    assert (accuracy.low, accuracy.high) == wilson(55, 60)
    assert (accuracy.method, accuracy.n) == ("Wilson 95 %", 60)
    assert result.metrics["format_error_rate"].value == 2 / 60
    assert result.format_errors == {"no label": 2}
    assert result.metrics["weighted_recall"].value == pytest.approx(55 / 60)
    f1 = result.metrics["macro_f1"]
    assert f1.low is not None and f1.value is not None and f1.high is not None
    assert f1.low < f1.value < f1.high


def test_the_confusion_table_has_a_column_for_answers_without_a_label(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(0, garbled=(1, 4))})
    result = summarise(log, CLASSIFICATION).backends["a"]
    assert result.confusion is not None
    assert result.confusion.answers == (*LABELS, "(no label)")
    assert result.confusion.counts == ((19, 1, 0, 0), (0, 18, 0, 2), (0, 0, 20, 0))
    assert result.per_class["Sports"].recall == pytest.approx(18 / 20)
    assert result.per_class["Sports"].precision == pytest.approx(18 / 19)
    assert result.per_class["World"].support == 20


@pytest.mark.parametrize("decode", ["choose", "head"])
def test_format_errors_do_not_apply_to_choose_and_head_and_are_never_paired_across_modes(
    tmp_path: Path, decode: str
) -> None:
    log = make_run(
        tmp_path / "r",
        {"a": right_but(0), "b": right_but(1, garbled=(2,)), "c": right_but(3)},
        identities={"a": _identity(decode=decode)},
    )
    summary = summarise(log, CLASSIFICATION)
    rate = summary.backends["a"].metrics["format_error_rate"]
    assert (rate.value, rate.method) == (None, f"n/a for {decode}")
    paired = [(p.a, p.b) for p in summary.pairs if p.metric == "format_error_rate"]
    assert paired == [("b", "c")]
    assert [(p.a, p.b) for p in summary.pairs if p.metric == "accuracy"] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_pairs_are_tested_by_mcnemar_with_tangos_interval(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(0, 1), "b": right_but(1, *range(10, 25))})
    summary = summarise(log, CLASSIFICATION)
    pair = next(p for p in summary.pairs if p.metric == "accuracy")
    assert (pair.only_a, pair.only_b, pair.rows) == (15, 1, 60)
    assert pair.p == exact_p(1, 15)
    assert pair.difference.value == pytest.approx(14 / 60)
    assert (pair.difference.low, pair.difference.high) == pytest.approx(tango_interval(1, 15, 60, 0.95))
    assert pair.verdict == "a better"
    assert summary.ranks == {"a": 1, "b": 2}


def test_a_difference_has_the_sign_of_a_minus_b_also_where_less_is_better(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(), "b": right_but(garbled=tuple(range(12)))})
    pair = next(p for p in summarise(log, CLASSIFICATION).pairs if p.metric == "format_error_rate")
    assert pair.difference.value == pytest.approx(-0.2)
    assert pair.difference.low is not None and pair.difference.low < -0.2
    assert pair.verdict == "a better"


def test_backends_that_cannot_be_told_apart_share_a_place(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(1), "b": right_but(2, 3), "c": right_but(*range(30))})
    summary = summarise(log, CLASSIFICATION)
    assert summary.ranks == {"a": 1, "b": 1, "c": 3}
    of_metric = [p for p in summary.pairs if p.metric == "accuracy"]
    assert all(p.p_holm is not None and p.p is not None and p.p_holm >= p.p for p in of_metric)


def test_an_infrastructure_error_is_not_an_answer(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(0, error=(3, 4), missing=(5,)), "b": right_but()})
    summary = summarise(log, CLASSIFICATION)
    result = summary.backends["a"]
    assert (result.asked, result.answered, result.missing) == (60, 57, 1)
    assert result.errors == {"timeout": 2}
    assert result.metrics["accuracy"].n == 57
    assert all(p.rows == 57 for p in summary.pairs)
    assert not summary.complete
    assert any("2 of 60 requests ended in an infrastructure error (timeout 2)" in w for w in summary.warnings)
    assert result.error_examples["timeout"]
    assert any(f"The first timeout: {result.error_examples['timeout']}" in w for w in summary.warnings)
    assert any("1 of 60 answers are missing" in w for w in summary.warnings)
    assert "a and b are compared on the 57 of 60 rows that both answered." in summary.warnings


def test_a_row_is_worth_the_mean_of_its_repeats(tmp_path: Path) -> None:
    def sometimes(k: int, row: Sample, repeat: int) -> str:
        return right_but(k)(k, row, 0) if (k + repeat) % 3 == 0 else row.reference  # type: ignore[return-value]

    log = make_run(tmp_path / "r", {"a": sometimes, "b": right_but()}, repeats=3)
    summary = summarise(log, CLASSIFICATION)
    accuracy = summary.backends["a"].metrics["accuracy"]
    assert accuracy.value == pytest.approx(2 / 3)
    assert accuracy.n == 60 and summary.repeats == 3
    assert "rows" in accuracy.method
    # every row is right exactly twice of three: no spread between rows, so the rows are the trials
    assert (accuracy.low, accuracy.high) == pytest.approx(wilson(40, 60))
    table = summary.backends["a"].confusion
    assert table is not None and np.sum(table.counts) == pytest.approx(60)
    pair = next(p for p in summary.pairs if p.metric == "accuracy")
    assert "McNemar" not in pair.p_method
    assert pair.verdict == "b better"


def test_rows_of_a_group_stand_and_fall_together(tmp_path: Path) -> None:
    samples = [sample(k, group=f"g{k // 6}") for k in range(240)]
    wrong = right_but(*(k for k in range(240) if (k // 6) % 4 == 0))
    log = make_run(tmp_path / "r", {"a": wrong, "b": right_but()}, samples)
    summary = summarise(log, CLASSIFICATION)
    accuracy = summary.backends["a"].metrics["accuracy"]
    assert accuracy.method.startswith("Wilson 95 % over 40 groups, effective sample size ")
    assert accuracy.low is not None and accuracy.high is not None
    low, high = wilson(180, 240)
    assert accuracy.high - accuracy.low > 2 * (high - low)
    assert "groups" in summary.backends["a"].metrics["macro_f1"].method
    assert "groups" in next(p for p in summary.pairs if p.metric == "accuracy").p_method


def test_the_difference_that_the_rows_detect_is_that_of_the_named_pair(tmp_path: Path) -> None:
    alone = summarise(make_run(tmp_path / "one", {"a": right_but(0, 1, 2)}), CLASSIFICATION)
    assert alone.resolution is not None and 0.05 < alone.resolution < 0.3
    two = summarise(make_run(tmp_path / "two", {"a": right_but(0, 1), "b": right_but(2, 3)}), CLASSIFICATION)
    assert two.resolution is not None and 0.05 < two.resolution < 0.3
    assert two.verdict is not None and two.verdict.detectable == two.resolution == two.pairs[0].detectable


def test_costs_add_up_and_a_cached_answer_keeps_its_list_price(tmp_path: Path) -> None:
    def cached(name: str, k: int, c: Completion) -> Completion:
        if k >= 20:
            return c
        return msgspec.structs.replace(c, cached=True, cost=Cost(list=0.001, incurred=0.0), timing=Timing())

    log = make_run(tmp_path / "r", {"a": right_but()}, completion=cached)
    trained = msgspec.structs.replace(log.manifest.backends["a"], training_usd=1.5)
    log.update_manifest(msgspec.structs.replace(log.manifest, backends={"a": trained}))
    summary = summarise(log, CLASSIFICATION, contaminated={"a": 2})
    result = summary.backends["a"]
    assert result.cost.list == pytest.approx(0.060)
    assert result.cost.incurred == pytest.approx(0.040)
    assert result.cost.per_1000 == pytest.approx(1.0)
    assert result.cost.training == 1.5
    assert result.load.cached == 20
    assert result.load.service is not None and result.load.service.rows == 40
    assert result.load.attempts == 40
    assert any("20 of 60 answers came from the cache" in w for w in summary.warnings)
    assert any("2 of 60 evaluated rows are also in the training rows" in w for w in summary.warnings)


def test_an_answer_that_was_asked_again_was_paid_for_twice(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but()})
    once = summarise(log, CLASSIFICATION).backends["a"].cost
    log.log_path("a").write_bytes(log.log_path("a").read_bytes() * 2)
    twice = summarise(log, CLASSIFICATION).backends["a"].cost
    assert once.incurred is not None
    assert twice.list == once.list
    assert twice.incurred == pytest.approx(2 * once.incurred)


def test_one_answer_without_a_price_makes_the_cost_unknown_not_smaller(tmp_path: Path) -> None:
    def unknown(name: str, k: int, c: Completion) -> Completion:
        return msgspec.structs.replace(c, cost=Cost()) if k == 7 else c

    cost = (
        summarise(make_run(tmp_path / "r", {"a": right_but()}, completion=unknown), CLASSIFICATION).backends["a"].cost
    )
    assert (cost.list, cost.incurred, cost.per_1000) == (None, None, None)
    assert "no price known" in cost.basis


def test_what_was_paid_for_failures_alone_is_still_said(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(error=tuple(range(60)))})
    cost = summarise(log, CLASSIFICATION).backends["a"].cost
    assert (cost.incurred, cost.list, cost.per_1000) == (pytest.approx(0.06), None, None)


def test_a_local_model_costs_its_device_hours(tmp_path: Path) -> None:
    log = make_run(
        tmp_path / "r",
        {"a": right_but()},
        identities={"a": _identity(kind="local", device_hour_usd=3.6)},
        completion=lambda name, k, c: msgspec.structs.replace(c, cost=Cost()),
    )
    log.note_session("a", Session(started="2026-01-05T11:00:00+00:00", wall_s=50.0, rows=0, counters={"busy_s": 4.0}))
    cost = summarise(log, CLASSIFICATION).backends["a"].cost
    # 2 s of the first session by the wall, 4 s by the engine's own count; a thousandth of a dollar a second
    assert cost.incurred == pytest.approx(0.006)
    assert cost.per_1000 == pytest.approx(0.1)
    assert cost.basis == "6.0 s of work at 3.6 USD an hour, the device fully used"


def test_the_probe_counts_in_money_but_not_in_throughput(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but()})
    with log.writer("a", probe=True) as writer:
        for row in list(log.rows())[:4]:
            done = Completion(
                id=row.sample.id,
                text="World",
                finish="stop",
                timing=Timing(service_s=0.5 + row.n, first_token_s=0.2),
                cost=Cost(list=0.01, incurred=0.01),
            )
            writer.append(row.n, done, None)
    result = summarise(log, CLASSIFICATION).backends["a"]
    assert result.probe is not None
    assert (result.probe.rows, result.probe.p50_s, result.probe.first_token_p50_s) == (4, 2.0, 0.2)
    assert result.cost.list == pytest.approx(0.06)
    assert result.cost.incurred == pytest.approx(0.10)
    assert result.load.rows_per_s == pytest.approx(30)
    assert result.load.tokens_per_s == pytest.approx(30 * 22)


def test_a_stop_and_a_retired_model_are_told(tmp_path: Path) -> None:
    log = make_run(
        tmp_path / "r", {"a": right_but(missing=tuple(range(9, 60)))}, identities={"a": _identity(retired="2025-06-01")}
    )
    stopped = {"kind": "authentication", "message": "the key was refused"}
    log.note_session("a", Session(started="2026-01-05T11:00:00+00:00", wall_s=1.0, rows=0, stopped=stopped))
    summary = summarise(log, CLASSIFICATION)
    assert summary.backends["a"].stopped == stopped
    assert "a stopped early: the key was refused" in summary.warnings
    assert "a: m was shut down on 2025-06-01." in summary.warnings


def test_slices_are_the_metrics_within_each_value_of_a_column(tmp_path: Path) -> None:
    samples = [sample(k, column="wire" if k < 40 else "blog") for k in range(60)]
    summary = summarise(make_run(tmp_path / "r", {"a": right_but(50, 51)}, samples), CLASSIFICATION)
    assert list(summary.slices["source"]) == ["wire", "blog"]
    assert summary.slices["source"]["wire"]["a"]["accuracy"].value == 1
    assert summary.slices["source"]["blog"]["a"]["accuracy"].value == pytest.approx(0.9)


def test_open_answers_have_neither_a_confusion_table_nor_f1(tmp_path: Path) -> None:
    length = Metric(name="length", row_value="length", proportion=False)
    log = make_run(tmp_path / "r", {"a": right_but()}, changes={"labels": ()})
    summary = summarise(log, (length, *CLASSIFICATION))
    assert summary.headline == "length"
    result = summary.backends["a"]
    assert result.confusion is None and "macro_f1" not in result.metrics
    assert result.metrics["length"].value is None
    assert "a: length is not defined for 60 of 60 answered rows." in summary.warnings
    assert summary.ranks == {}


def test_nobody_has_answered_yet(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(missing=tuple(range(60))), "b": right_but()})
    summary = summarise(log, CLASSIFICATION)
    assert summary.backends["a"].metrics["accuracy"].value is None
    assert summary.backends["a"].cost.list is None
    assert summary.pairs == ()
    assert summary.ranks == {"b": 1}


def test_one_row_says_next_to_nothing(tmp_path: Path) -> None:
    summary = summarise(make_run(tmp_path / "r", {"a": right_but(), "b": right_but(0)}, rows=1), CLASSIFICATION)
    assert all(p.verdict == "not distinguishable" for p in summary.pairs)
    accuracy = summary.backends["a"].metrics["accuracy"]
    assert accuracy.low is not None and accuracy.low < 0.3


def test_the_same_log_gives_the_same_bytes_whatever_the_order_of_its_lines(tmp_path: Path) -> None:
    log = make_run(tmp_path / "r", {"a": right_but(3, 4, garbled=(9,)), "b": right_but(4, error=(8,))})
    first = msgspec.json.encode(summarise(log, CLASSIFICATION))
    path = log.log_path("a")
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))
    again = RunLog.open(log.path)
    assert msgspec.json.encode(summarise(again, CLASSIFICATION)) == first
    again.write_summary(summarise(again, CLASSIFICATION))
    assert isinstance(again.summary(), Summary)


def test_a_reference_outside_the_label_set_is_refused(tmp_path: Path) -> None:
    odd = msgspec.structs.replace(sample(0), reference="Weather")
    with pytest.raises(UsageError, match="the reference 'Weather' is none of World, Sports, Business"):
        summarise(
            make_run(tmp_path / "r", {"a": lambda k, row, repeat: Failure(kind="x", message="y")}, [odd]),
            CLASSIFICATION,
        )


def test_a_figure_without_a_single_error_is_no_certainty(tmp_path: Path) -> None:
    """Twelve right answers of twelve: F1 says no more than accuracy, whose interval begins at 76 %."""
    metrics = summarise(make_run(tmp_path / "r", {"a": right_but()}, rows=12), CLASSIFICATION).backends["a"].metrics
    assert metrics["weighted_recall"] == metrics["accuracy"]
    for name in ("macro_f1", "weighted_f1", "weighted_precision"):
        low = metrics[name].low
        assert low is not None and low <= (metrics["accuracy"].low or 0) + 1e-12, name
        assert metrics[name].high == 1 and "widened" in metrics[name].method
    none = summarise(make_run(tmp_path / "n", {"a": right_but(*range(12))}, rows=12), CLASSIFICATION).backends["a"]
    assert none.metrics["macro_f1"].low == 0 and (none.metrics["macro_f1"].high or 0) > 0.2


def test_one_wrong_group_of_many_widens_the_interval(tmp_path: Path) -> None:
    samples = [sample(k, group=f"g{k // 2}") for k in range(200)]
    summary = summarise(make_run(tmp_path / "r", {"a": right_but(7)}, samples), CLASSIFICATION)
    accuracy = summary.backends["a"].metrics["accuracy"]
    assert accuracy.method.startswith("Wilson 95 % over 100 groups, effective sample size 19")
    assert (accuracy.low, accuracy.high) == pytest.approx(wilson(199, 200), abs=1e-3)


def test_equal_graded_values_of_many_rows_are_compared_in_little_memory(tmp_path: Path) -> None:
    grade, n = Metric(name="grade", proportion=False), 200_000
    rows = RowTable((), np.full(n, -1), None, {})
    side = Outcomes("generate", {"grade": np.linspace(0, 1, n)}, np.zeros((n, 1), dtype=np.int64))
    tracemalloc.start()
    same = compare_means(grade, rows, side, side, ("a", "b"), 0.95)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert same is not None and (same.p, same.differing, same.method) == (1.0, 0, "no interval: no row differs")
    assert most < 100 * 2**20


def test_a_graded_metric_that_is_declared_right_or_wrong_is_told(tmp_path: Path) -> None:
    grade = Metric(name="grade", row_value="grade")

    def score(k: int, done: Completion, row: Sample) -> Score:
        return Score(correct=True, values={"grade": 1 + k % 5})

    log = make_run(tmp_path / "r", {"a": right_but()}, metrics=(grade,), score=score)
    with pytest.raises(UsageError, match=r"grade has values from 1 to 5, .* give the Metric proportion=False"):
        summarise(log, (grade,))


def test_a_value_that_is_no_number_costs_its_row_and_not_the_log(tmp_path: Path) -> None:
    grade = Metric(name="grade", row_value="grade", proportion=False)

    def score(k: int, done: Completion, row: Sample) -> Score:
        return Score(correct=True, values={"grade": float("nan") if k == 3 else float("inf") if k == 4 else 2.5})

    def scored(name: str, k: int, done: Completion) -> Completion:
        return msgspec.structs.replace(done, label_scores={"World": float("-inf"), "Sports": -0.5})

    log = make_run(tmp_path / "r", {"a": right_but()}, metrics=(grade,), score=score, completion=scored)
    assert log.lines("a")[Key(0, 0)].label_scores == {"Sports": -0.5}
    summary = summarise(log, (grade,))
    assert summary.backends["a"].metrics["grade"].n == 58
    assert "a: grade is not defined for 2 of 60 answered rows." in summary.warnings


def test_a_run_of_too_few_rows_for_the_default_gate_says_how_many_it_takes(tmp_path: Path) -> None:
    from tests.gate.building import finished, make_run, right_but

    few = finished(make_run(tmp_path / "few", {"a": right_but(), "b": right_but(3)}, 60)).summary()
    assert few is not None and [w for w in few.warnings if "cannot pass with fewer than 268 rows" in w]
    enough = finished(make_run(tmp_path / "enough", {"a": right_but(), "b": right_but(3)}, 268)).summary()
    assert enough is not None and not [w for w in enough.warnings if "cannot pass" in w]


def test_answers_that_are_thoughts_alone_are_called_out(tmp_path: Path) -> None:
    def thinking(name: str, k: int, done: Completion) -> Completion:
        if k > 3:
            return done
        return msgspec.structs.replace(done, text="", reasoning="Is it", finish="length" if k else "stop")

    summary = summarise(make_run(tmp_path / "r", {"a": right_but()}, completion=thinking), CLASSIFICATION)
    result = summary.backends["a"]
    assert (result.cut_off_thinking, result.only_reasoning) == (3, 1)
    assert any("3 of 60 answers were cut off while the model was still reasoning" in w for w in summary.warnings)
    assert any("1 of 60 answers contain reasoning only" in w for w in summary.warnings)
