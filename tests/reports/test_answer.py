"""The sentence on top says what the summary says, and no more."""

import msgspec
import pytest

from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, MACRO_F1
from harness.reports.answer import answer, by_rank, contenders, ratio
from harness.results import BackendResult, CostResult, Estimate, PairResult, Summary


def backend(
    value: float, per_1000: float | None, training: float | None = None, adapter: str | None = None, model: str = "m"
) -> BackendResult:
    return BackendResult(
        decode="generate",
        model=model,
        adapter=adapter,
        metrics={"accuracy": Estimate(value=value, low=value - 0.02, high=value + 0.02, method="Wilson 95 %", n=500)},
        cost=CostResult(per_1000=per_1000, training=training),
    )


def duel(
    verdict: str = "a better", per_1000: tuple[float | None, float | None] = (0.01, 0.40), **more: object
) -> Summary:
    pair = PairResult(
        a="llama-ft",
        b="gpt4",
        metric="accuracy",
        rows=500,
        difference=Estimate(value=0.078, low=0.051, high=0.106, method="Tango 95 %", n=500),
        verdict=verdict,  # type: ignore[arg-type]
    )
    backends = {
        "gpt4": backend(0.872, per_1000[1], model="gpt-4.1"),
        "llama-ft": backend(0.95, per_1000[0], training=12.0, adapter="a1"),
    }
    ranks = {"llama-ft": 1, "gpt4": 2}
    summary = Summary(
        run="r", task="t", rows=500, metrics=(ACCURACY, MACRO_F1), backends=backends, pairs=(pair,), ranks=ranks
    )
    return msgspec.structs.replace(summary, **more)


def test_a_clear_winner_is_named_with_interval_price_and_break_even() -> None:
    assert answer(duel()).sentence == (
        "llama-ft is 7.8 points [5.1, 10.6] more accurate than gpt4 on these 500 rows, "
        "at 1/40 of the cost; break-even after 31,000 requests."
    )


def test_a_loser_is_told_the_same_way_with_the_interval_turned() -> None:
    turned = msgspec.structs.replace(
        duel().pairs[0], a="gpt4", b="llama-ft", difference=Estimate(value=0.078, low=0.051, high=0.106)
    )
    sentence = answer(duel(pairs=(turned,), ranks={"gpt4": 1, "llama-ft": 2})).sentence
    assert sentence.startswith("llama-ft is 7.8 points [5.1, 10.6] less accurate than gpt4 on these 500 rows")


def test_of_other_metrics_the_sentence_says_which_way_they_moved() -> None:
    pair = msgspec.structs.replace(
        duel().pairs[0], metric="format_error_rate", difference=Estimate(value=-0.308, low=-0.464, high=-0.186)
    )
    sentence = answer(duel(pairs=(pair,), headline="format_error_rate", metrics=(FORMAT_ERROR_RATE,))).sentence
    assert sentence.startswith(
        "llama-ft is better than gpt4 on these 500 rows: format errors 30.8 points [18.6, 46.4] lower, at"
    )


def test_what_the_test_cannot_tell_apart_is_not_ordered() -> None:
    sentence = answer(duel(verdict="not distinguishable", resolution=0.04)).sentence
    assert sentence.startswith("llama-ft and gpt4 cannot be told apart by accuracy on these 500 rows")
    assert "difference +7.8 points [5.1, 10.6]; these rows resolve 4.0 points" in sentence


def test_an_unknown_price_is_said_and_no_break_even_invented() -> None:
    sentence = answer(duel(per_1000=(0.01, None))).sentence
    assert sentence.endswith("on these 500 rows; the cost of gpt4 is unknown.")


def test_a_dearer_candidate_never_breaks_even() -> None:
    assert "at 2.0 times the cost; its training never pays" in answer(duel(per_1000=(0.8, 0.4))).sentence


def test_the_candidate_is_the_tuned_model_and_its_rival_not_its_own_base() -> None:
    summary = duel()
    backends = {**summary.backends, "llama-base": backend(0.9, 0.01)}
    ranks = {"llama-ft": 3, "gpt4": 2, "llama-base": 1}
    assert contenders(msgspec.structs.replace(summary, backends=backends, ranks=ranks)) == ("llama-ft", "gpt4")


def test_equal_ranks_are_ordered_by_the_figure_then_by_name() -> None:
    assert by_rank(duel(ranks={"gpt4": 1, "llama-ft": 1})) == ["llama-ft", "gpt4"]


def test_one_backend_alone_is_compared_with_nobody() -> None:
    one = duel(backends={"gpt4": backend(0.872, None)}, pairs=(), ranks={"gpt4": 1})
    assert answer(one).sentence == "gpt4: accuracy 87.2 [85.2, 89.2] % on these 500 rows. Nothing to compare it with."


def test_the_embedded_sample_is_named_in_the_sentence() -> None:
    assert "on these 500 rows of the embedded sample" in answer(duel(data={"label": "embedded sample"})).sentence


def test_warnings_of_the_summary_are_the_cautions_and_an_incomplete_run_never_goes_without() -> None:
    assert answer(duel(complete=False, warnings=("gpt4: 1 answer missing",))).cautions == ("gpt4: 1 answer missing",)
    assert answer(duel(complete=False)).cautions == ("This run is incomplete: rows are missing or ended in errors.",)
    assert answer(duel()).cautions == ()


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (1.0, 1.0, "at the same cost"),
        (0.01, 0.4, "at 1/40 of the cost"),
        (0.3, 0.4, "at 75% of the cost"),
        (0.0, 0.4, "free of charge"),
        (1.2, 0.4, "at 3.0 times the cost"),
    ],
)
def test_ratios_read_as_people_say_them(own: float, other: float, words: str) -> None:
    assert ratio(own, other) == words
