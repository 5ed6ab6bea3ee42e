"""The sentence on top says what the summary says, and no more."""

import msgspec
import pytest

from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, MACRO_F1, Estimate
from harness.reports.verdict_section import ratio, verdict_section
from harness.results import BackendResult, CostResult, PairResult, ReplacementVerdict, Summary
from harness.summary.stored_verdict import by_rank, ranking, stored_verdict


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
    pair_verdict: str = "a better", per_1000: tuple[float | None, float | None] = (0.01, 0.40), **more: object
) -> Summary:
    pair = PairResult(
        a="llama-ft",
        b="gpt4",
        metric="accuracy",
        rows=500,
        difference=Estimate(value=0.078, low=0.051, high=0.106, method="Tango 95 %", n=500),
        verdict=pair_verdict,  # type: ignore[arg-type]
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


def verdict(outcome: str, low: float, high: float, **more: object) -> ReplacementVerdict:
    plain = ReplacementVerdict(
        incumbent="gpt4",
        candidate="llama-ft",
        metric="accuracy",
        outcome=outcome,  # type: ignore[arg-type]
        loss=Estimate(value=(low + high) / 2, low=low, high=high, method="Tango 90 %", n=500),
        rows=500,
        margin=0.02,
        margin_source="[gate] of bench.toml",
    )
    return msgspec.structs.replace(plain, **more)


def test_the_bound_comes_first_then_the_figures_and_the_price() -> None:
    said = verdict_section(duel(verdict=verdict("within margin", -0.09, -0.0555)))
    assert said.sentence == (
        "llama-ft is at least 5.5 points more accurate than gpt4 (95 %, 500 rows): within the margin of 2."
    )
    assert said.details == (
        "Observed: llama-ft 95.0 [93.0, 97.0] %, gpt4 87.2 [85.2, 89.2] %; difference +7.8 [5.1, 10.6], significant.",
        "llama-ft costs 1/40 of gpt4; break-even after 31,000 requests.",
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            verdict("not shown", -0.01, 0.0302285, needed_rows=876),
            "llama-ft is at most 3.1 points less accurate than gpt4 (95 %, 500 rows); at a margin of 2 this is not "
            "shown yet: about 380 more rows.",
        ),
        (
            verdict("not shown", -0.01, 0.03, needed_rows=501),
            "llama-ft is at most 3.0 points less accurate than gpt4 (95 %, 500 rows); at a margin of 2 this is not "
            "shown yet: about 1 more row.",
        ),
        (
            verdict("not shown", -0.001, 0.05, needed_rows=700, needed_for="worse"),
            "llama-ft is at most 5.0 points less accurate than gpt4 (95 %, 500 rows); at a margin of 2 this is not "
            "shown yet: about 200 more rows would probably show that it is worse.",
        ),
        (
            verdict("within margin", -0.01, 0.0141),
            "llama-ft is at most 1.5 points less accurate than gpt4 (95 %, 500 rows): within the margin of 2.",
        ),
        (
            verdict("within margin", 0.0052, 0.0161),
            "llama-ft is at most 1.7 points less accurate than gpt4 (95 %, 500 rows): within the margin of 2, though "
            "shown to be worse (by at least 0.5 points).",
        ),
        (
            verdict("beyond margin", 0.0269, 0.08),
            "llama-ft is at least 2.6 points less accurate than gpt4 (95 %, 500 rows): beyond the margin of 2.",
        ),
        (
            verdict("worse", 0.001, 0.05),
            "llama-ft is at most 5.0 points less accurate than gpt4 and shown to be worse (95 %, 500 rows); a loss "
            "within the margin of 2 is not shown.",
        ),
        (
            verdict("unchanged", -0.018, 0.018),
            "llama-ft is at most 1.8 points less accurate than gpt4 (95 %, 500 rows); not one row differs: is it the "
            "same model?",
        ),
        (
            verdict("within margin", -0.01, 0.0141, level=0.99, candidates=5, basis="that llama-ft was not trained on"),
            "llama-ft is at most 1.5 points less accurate than gpt4 (95 % for the best of 5, 500 rows that llama-ft "
            "was not trained on): within the margin of 2.",
        ),
        (
            verdict("not shown", -0.02, 0.04, sequential=True),
            "llama-ft is at most 4.0 points less accurate than gpt4 (95 % wherever asking stops, 500 rows); at a "
            "margin of 2 this is not shown yet.",
        ),
        (
            verdict("incomplete", -0.01, 0.031, rows=488, remarks=("gpt4 lacks 12 of 500 answers, more than 1 %.",)),
            "llama-ft is at most 3.1 points less accurate than gpt4 (95 %, 488 rows); no verdict: gpt4 lacks 12 of 500 "
            "answers, more than 1 %.",
        ),
        (
            verdict("no bound", 0.0, 0.0, loss=Estimate(value=None), rows=4),
            "No bound on the loss from gpt4 to llama-ft: 4 rows cannot bound the difference in accuracy.",
        ),
    ],
)
def test_every_outcome_has_its_sentence(found: ReplacementVerdict, words: str) -> None:
    assert verdict_section(duel(verdict=found)).sentence == words


def test_bounds_are_rounded_away_from_what_they_claim() -> None:
    assert "at most 2.1 points" in verdict_section(duel(verdict=verdict("not shown", -0.01, 0.02001))).sentence
    assert "at least 2.0 points" in verdict_section(duel(verdict=verdict("beyond margin", 0.0209, 0.05))).sentence


def test_other_metrics_are_named() -> None:
    found = verdict("not shown", -0.01, 0.031, metric="format_error_rate")
    said = verdict_section(duel(verdict=found, headline="format_error_rate", metrics=(FORMAT_ERROR_RATE,)))
    assert said.sentence.startswith("llama-ft is at most 3.1 points worse than gpt4 in format errors (95 %, 500 rows)")


def test_money_stands_only_beside_a_bounded_loss_and_a_known_price() -> None:
    unbounded = verdict("no bound", 0.0, 0.0, loss=Estimate(value=None))
    assert not any("costs" in line for line in verdict_section(duel(verdict=unbounded)).details)
    unpriced = verdict_section(duel(per_1000=(0.01, None), verdict=verdict("within margin", -0.09, -0.05)))
    assert not any("cost" in line for line in unpriced.details)
    assert "cost" not in unpriced.sentence


def test_a_dearer_candidate_never_breaks_even_and_is_named() -> None:
    details = verdict_section(duel(per_1000=(0.8, 0.4), verdict=verdict("within margin", -0.09, -0.05))).details
    assert "llama-ft costs 2.0 times as much as gpt4; its training never breaks even at these prices." in details


def test_an_exact_test_that_is_not_significant_hides_an_interval_that_excludes_zero() -> None:
    pair = PairResult(
        a="llama-ft",
        b="gpt4",
        metric="accuracy",
        rows=5,
        difference=Estimate(value=1.0, low=0.131, high=1.0, method="Tango 95 %", n=5),
        p=0.0625,
        p_holm=0.0625,
        only_a=5,
        only_b=0,
    )
    few = verdict("within margin", -1.0, 0.0, rows=5, discordant=5, fewest_discordant=6)
    details = verdict_section(duel(pairs=(pair,), rows=5, verdict=few)).details
    assert details[0].endswith("difference +100.0, no significant difference (p 0.062).")
    assert "5 rows can never reach 5 % by a two-sided exact test: it takes 6 that differ." in details


def test_a_default_margin_is_said_to_be_one() -> None:
    found = verdict("not shown", -0.01, 0.031, margin_source="Bench's default")
    assert "The margin of 2 points is Bench's default: name yours in [verdict] of bench.toml." in (
        verdict_section(duel(verdict=found)).details
    )


def old(verdict: str = "a better", **more: object) -> Summary:
    """A summary as it was before verdicts were stored."""
    return duel(pair_verdict=verdict, **more)  # type: ignore[arg-type]


def test_a_summary_without_a_verdict_takes_its_bound_from_the_stored_interval() -> None:
    said = verdict_section(old())
    assert said.sentence == (
        "llama-ft is at least 5.1 points more accurate than gpt4 (97.5 %, 500 rows): within the margin of 2."
    )
    turned = msgspec.structs.replace(
        duel().pairs[0], a="gpt4", b="llama-ft", difference=Estimate(value=0.078, low=0.051, high=0.106)
    )
    sentence = verdict_section(old(pairs=(turned,), ranks={"gpt4": 1, "llama-ft": 2})).sentence
    assert sentence == (
        "llama-ft is at least 5.1 points less accurate than gpt4 (97.5 %, 500 rows): beyond the margin of 2."
    )


def test_without_a_verdict_the_candidate_is_the_tuned_model_and_its_rival_not_its_own_base() -> None:
    summary = duel()
    backends = {**summary.backends, "llama-base": backend(0.9, 0.01)}
    ranks = {"llama-ft": 3, "gpt4": 2, "llama-base": 1}
    found = stored_verdict(msgspec.structs.replace(summary, backends=backends, ranks=ranks))
    assert found is not None
    assert (found.candidate, found.incumbent) == ("llama-ft", "gpt4")


def test_without_a_common_row_there_is_no_bound() -> None:
    assert verdict_section(old(pairs=())).sentence.startswith("No bound on the loss from gpt4 to llama-ft: no row was")


def test_equal_ranks_are_ordered_by_the_figure_then_by_name() -> None:
    assert by_rank(duel(ranks={"gpt4": 1, "llama-ft": 1})) == ["llama-ft", "gpt4"]


def test_ranks_that_do_not_differ_significantly_share_a_letter() -> None:
    assert ranking(duel()) == {"llama-ft": "1", "gpt4": "2"}
    shared = old("not distinguishable", ranks={"gpt4": 1, "llama-ft": 1})
    assert ranking(shared) == {"llama-ft": "1 a", "gpt4": "2 a"}


def test_letters_tell_who_is_worse_than_whom_only() -> None:
    three = duel(
        backends={"A": backend(0.95, None), "B": backend(0.93, None), "C": backend(0.9, None)},
        ranks={"A": 1, "B": 1, "C": 2},
        letters={"A": "a", "B": "ab", "C": "b"},
    )
    assert ranking(three) == {"A": "1 a", "B": "2 ab", "C": "3 b"}


def test_one_backend_alone_is_compared_with_nobody() -> None:
    one = duel(backends={"gpt4": backend(0.872, None)}, pairs=(), ranks={"gpt4": 1}, resolution=0.0709)
    said = verdict_section(one)
    assert said.sentence == (
        "gpt4: accuracy 87.2 [85.2, 89.2] % on 500 rows. There is no other backend to compare it with."
    )
    assert said.details == ("500 rows can detect a difference of 7.1 points or more (80 % power).",)


def test_the_embedded_sample_is_named_in_the_sentence() -> None:
    assert "500 rows of the embedded sample" in verdict_section(duel(data={"label": "embedded sample"})).sentence


def test_warnings_of_the_summary_are_the_cautions_and_an_incomplete_run_never_goes_without() -> None:
    assert verdict_section(duel(complete=False, warnings=("gpt4: 1 answer missing",))).cautions == (
        "gpt4: 1 answer missing",
    )
    assert verdict_section(duel(complete=False)).cautions == (
        "This run is incomplete: rows are missing or ended in errors.",
    )
    assert verdict_section(duel()).cautions == ()


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (1.0, 1.0, "small costs as much as big"),
        (0.01, 0.4, "small costs 1/40 of big"),
        (0.3, 0.4, "small costs 75 % of big"),
        (0.0, 0.4, "small is free of charge and big is not"),
        (0.4, 0.0, "big is free of charge and small is not"),
        (1.2, 0.4, "small costs 3.0 times as much as big"),
    ],
)
def test_ratios_name_who_costs_what(own: float, other: float, words: str) -> None:
    assert ratio("small", own, "big", other) == words
