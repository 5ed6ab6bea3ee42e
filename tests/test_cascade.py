"""Cascades over answers that exist: the curve by hand, the certified point by the gate's rule, and `bench cascade`."""

import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from harness import cascade as cascade_verb
from harness.cli.main import cli
from harness.errors import BenchError
from harness.metrics import ACCURACY, CLASSIFICATION, FORMAT_ERROR_RATE
from harness.records import BackendIdentity, Completion, Cost, Sample
from harness.reports.run_page import write_report
from harness.runs.run_log import RunLog
from harness.summary.answer_columns import BackendAnswers
from harness.summary.cascade_analysis import Question, Stage, cascade_result, person_stage, rows_beyond_first
from harness.summary.cascade_curve import (
    CascadeRows,
    StageAnswers,
    certify_cost,
    certify_loss,
    cost_bound,
    evaluate_grid,
    frontier,
    grid_levels,
    route,
    routed_prices,
    routed_values,
    split_rows,
)
from harness.summary.outcomes import RowTable
from harness.summary.summarise import summarise
from tests.gate.building import LABELS, make_run

RNG = np.random.default_rng(5)


def stage(name: str, n: int, price: float, right: float = 0.8) -> StageAnswers:
    confidence = np.round(RNG.random(n), 2)
    confidence[RNG.random(n) < 0.05] = -np.inf
    return StageAnswers(name, confidence, (RNG.random(n) < right).astype(float), np.full(n, price), 0.1)


def test_every_combination_of_thresholds_is_what_routing_each_row_gives() -> None:
    stages = [stage("a", 300, 0.1), stage("b", 300, 1.0), stage("c", 300, 9.0)]
    axes = tuple(axis[::12] for axis in grid_levels(stages))
    grid = evaluate_grid(stages, axes)
    assert grid.cost is not None
    for place, thresholds in enumerate(itertools.product(*(axis.tolist() for axis in axes))):
        assert grid.thresholds(place) == thresholds
        answering = route(stages, thresholds)
        prices = routed_prices(stages, answering)
        assert prices is not None
        assert grid.value.ravel()[place] == pytest.approx(routed_values(stages, answering).mean())
        assert grid.cost.ravel()[place] == pytest.approx(prices.mean())
        for k, reached in enumerate(grid.reached):
            assert reached.ravel()[place] == pytest.approx((answering >= k).mean())


def test_rows_without_confidence_always_go_up_and_equal_ones_are_kept_together() -> None:
    confidence = np.array([0.9, 0.5, 0.5, -np.inf])
    stages = [StageAnswers("a", confidence, np.ones(4)), StageAnswers("b", confidence, np.zeros(4))]
    assert route(stages, [0.5]).tolist() == [0, 0, 0, 1]
    assert route(stages, [0.51]).tolist() == [0, 1, 1, 1]
    assert grid_levels(stages)[0].tolist() == [np.inf, 0.9, 0.5]


def test_no_point_of_the_frontier_is_beaten_in_cost_and_value() -> None:
    grid = evaluate_grid(
        stages := [stage("a", 200, 0.1), stage("b", 200, 1.0), stage("c", 200, 9.0)], grid_levels(stages)
    )
    assert grid.cost is not None
    kept = frontier(grid)
    cost, value = grid.cost.ravel(), grid.value.ravel()
    for place in kept:
        assert not ((cost <= cost[place]) & (value > value[place] + 1e-12)).any()
    assert [cost[p] for p in kept] == sorted(cost[p] for p in kept)


def rows(n: int, groups: np.ndarray | None = None) -> RowTable:
    return RowTable((), np.zeros(n, dtype=np.int64), groups, {})


def data(n: int = 1200, groups: np.ndarray | None = None) -> CascadeRows:
    rng = np.random.default_rng(n)
    p = rng.beta(4, 0.6, n)
    small = StageAnswers("small", p, (rng.random(n) < p).astype(float), np.full(n, 0.0001))
    large = StageAnswers("large", np.full(n, -np.inf), (rng.random(n) < 0.9).astype(float), np.full(n, 0.002))
    return CascadeRows(ACCURACY, rows(n, groups), 1, (small, large), large.values)


def test_the_fast_test_of_single_answers_is_the_gates_own_rule() -> None:
    single = data()
    found = certify_loss(single, 0.02)
    assert found.thresholds is not None
    certifying = single.only(found.certifying)
    compared = certifying.compare(found.thresholds)
    assert compared is not None and compared.low > -0.02 and compared.method.startswith("Tango")
    grouped = certify_loss(data(groups=np.arange(1200)), 0.02)
    assert grouped.thresholds is not None
    assert grouped.thresholds[0] == pytest.approx(found.thresholds[0], abs=0.15), (
        "t over groups of one row says the same"
    )


def test_rows_of_a_group_stay_on_one_side_and_no_answer_chooses_the_side() -> None:
    groups = np.repeat(np.arange(100), 3)
    learning, certifying = split_rows(rows(300, groups))
    assert not set(groups[learning]) & set(groups[certifying])
    assert len(learning) + len(certifying) == 300
    assert 90 <= len(learning) <= 110


def test_a_cost_limit_is_kept_by_an_upper_bound() -> None:
    single = data(3000)
    found = certify_cost(single, 0.001)
    assert found.thresholds is not None
    tested = single.only(found.certifying)
    assert cost_bound(tested, found.thresholds) <= 0.001
    prices = routed_prices(tested.stages, route(tested.stages, found.thresholds))
    assert prices is not None and 0.0008 < prices.mean() < 0.001
    assert certify_cost(single, 0.00001).thresholds is None
    nobody_up = cost_bound(tested, [0.0])
    assert nobody_up > 0.0001, "that no row of these went up does not show that none will"


def stages_of(small: CascadeRows) -> list[Stage]:
    def of(one: StageAnswers, *, last: bool) -> Stage:
        assert one.prices is not None
        said = {} if last else {"label scores": one.confidence[:, None]}
        return Stage(one.name, BackendAnswers(one.values[:, None], said, one.prices[:, None]))  # type: ignore[arg-type]

    return [of(small.stages[0], last=False), of(small.stages[1], last=True)]


def test_a_person_is_a_stage_with_a_price_and_an_accuracy() -> None:
    small = stages_of(data(2000))[:1]
    question = Question("r", ACCURACY, rows(2000), [*small, person_stage(2000, 1, 0.97, 0.2)], "person", volume=10_000)
    found = cascade_result(question)
    assert found.certified and found.chosen is not None
    assert found.stages[1].cost_per_1000 == pytest.approx(200.0)
    expected = 0.1 + found.chosen.shares[1] * 200.0
    assert found.chosen.cost_per_1000 == pytest.approx(expected, rel=0.01)
    cost = found.chosen.cost_per_1000
    assert cost is not None and found.saved_usd_month == pytest.approx(10 * (200.0 - cost))


def test_too_few_rows_say_how_many_are_needed() -> None:
    question = Question("r", ACCURACY, rows(150), stages_of(data(150)), "large", limit=0.01)
    found = cascade_result(question)
    assert not found.certified
    assert "402 rows in all are needed" in found.cautions[-1]


def completion(name: str, k: int, given: Completion) -> Completion:
    cost = {"small": 0.0001, "large": 0.002}[name]
    p = 0.5 + 0.499 * random.Random(k).random()
    scores = {label: math.log(p if label == given.text else (1 - p) / 2) for label in LABELS}
    return msgspec.structs.replace(
        given, cost=Cost(list=cost, incurred=cost), label_scores=scores if name == "small" else None
    )


def answers(right: Callable[[int], float]) -> Callable[[int, Sample, int], str]:
    def answer(k: int, row: Sample, repeat: int) -> str:
        if random.Random(f"{k} {right(k)}").random() < right(k):
            return row.reference
        return LABELS[(LABELS.index(row.reference) + 1) % 3]

    return answer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """900 rows: the small model is as often right as it says, the large one 92 % of the time."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    small = answers(lambda k: 0.5 + 0.499 * random.Random(k).random())
    identities = {
        "small": BackendIdentity(kind="local", model="m", decode="head", adapter="a"),
        "large": BackendIdentity(kind="openai", model="gpt", decode="head", price={"input": 2.0, "output": 8.0}),
    }
    log = make_run(
        folder, {"small": small, "large": answers(lambda k: 0.92)}, 900, identities=identities, completion=completion
    )
    log.write_summary(summarise(log, CLASSIFICATION))
    return folder


def bench(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(words))
    if isinstance(result.exception, BenchError):
        return int(result.exception.exit_code), str(result.exception)
    assert result.exception is None, result.exception
    return result.exit_code, result.output


def test_the_summary_holds_calibration_and_the_best_certified_cascade(run: Path) -> None:
    summary = RunLog.open(run).summary()
    assert summary is not None
    calibration = summary.backends["small"].calibration
    assert calibration is not None and calibration.source == "label scores"
    assert calibration.error.low == 0.0, "it is calibrated"
    assert summary.backends["large"].calibration is None
    assert summary.cascade is not None and summary.cascade.reference == "large"
    assert summary.cascade.chosen is not None and 0 < summary.cascade.chosen.shares[0] < 1


def test_the_report_shows_both_and_the_leaderboard_the_cascade(run: Path, tmp_path: Path) -> None:
    page = write_report(RunLog.open(run), tmp_path / "r.html").read_text()
    assert page.count("small &gt; large") >= 1
    assert 'id="cascade"' in page and 'id="calibration"' in page
    assert "certified to lose 2 points at most to large" in page
    assert 'id="x-sure"' in page


def test_bench_cascade_prints_keeps_and_draws(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    code, text = bench(
        *("cascade", str(run), "--small", "small", "--large", "large", "--max-loss", "3", "--volume", "1000000"),
        *("--out", str(out)),
    )
    assert code == 0
    flat = " ".join(text.split())
    assert "certified to lose 3 points at most to large (95 %)" in flat
    assert "At 1,000,000 requests a month it saves $" in flat
    assert "Rows that go up" in out.read_text()
    stored = json.loads((run / "cascade.json").read_text())
    assert [s["name"] for s in stored["cascades"][0]["stages"]] == ["small", "large"]
    code, text = bench(
        "cascade", str(run), "--stages", "small,large", "--max-cost-per-1000", "1.0", "--json", "--quiet"
    )
    found = json.loads(text)
    assert (found["aim"], found["certified"]) == ("cost", True)
    assert found["chosen"]["cost_per_1000"] < 1.0
    assert len(json.loads((run / "cascade.json").read_text())["cascades"]) == 1, "the newest of these stages"


def test_the_python_function_is_the_verb(run: Path, tmp_path: Path) -> None:
    found = cascade_verb(run, ["small", "large"], max_loss=3, prices={"large": 4.0}, out=tmp_path / "c.svg")
    assert found.stages[1].cost_per_1000 == pytest.approx(4.0)
    assert (tmp_path / "c.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--small", "small"), "name the stages"),
        (("--small", "smal", "--large", "large"), "did you mean 'small'"),
        (("--small", "large", "--large", "small"), "'large' gives no confidence"),
        (("--stages", "small,large", "--price", "large"), "write NAME=USD"),
        (("--stages", "small,large", "--price", "larg=2"), "is none of the stages"),
        (("--stages", "small,large", "--person-price", "2"), "needs --person-accuracy"),
        (("--stages", "small,large", "--max-loss", "1", "--max-cost-per-1000", "1"), "one aim"),
        (("--stages", "small,large", "--max-loss", "200"), "in points, below 100"),
        (("--stages", "small,large", "--confidence", "agreement"), "no confidence from agreement"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(run: Path, words: tuple[str, ...], said: str) -> None:
    code, text = bench("cascade", str(run), *words)
    assert code == 2 and said in text


def test_a_metric_of_which_less_is_better_is_turned_round() -> None:
    single = data(1500)
    flipped = [
        Stage(s.name, BackendAnswers(1 - s.answers.values, s.answers.confidence, s.answers.prices))
        for s in stages_of(single)
    ]
    metric = msgspec.structs.replace(FORMAT_ERROR_RATE, name="wrong", row_value="wrong")
    one = cascade_result(Question("r", ACCURACY, rows(1500), stages_of(single), "large"))
    other = cascade_result(Question("r", metric, rows(1500), flipped, "large"))
    assert one.chosen is not None and other.chosen is not None
    assert other.chosen.thresholds == one.chosen.thresholds
    assert other.chosen.value == pytest.approx(1 - one.chosen.value)
    assert other.loss.value == pytest.approx(one.loss.value)


def test_rows_of_the_training_data_are_left_out_and_rows_that_go_up_are_named() -> None:
    single = data(1500)
    question = Question("r", ACCURACY, rows(1500), stages_of(single), "large", left_out=np.arange(100))
    found = cascade_result(question)
    assert found.left_out == 100 and found.learning + found.certifying == 1400
    beyond = rows_beyond_first(question, [0.9])
    assert beyond == [n for n in range(100, 1500) if single.stages[0].confidence[n] < 0.9]
