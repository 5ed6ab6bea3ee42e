"""May the candidate replace the incumbent? The record behind every first sentence."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.data.contamination import Findings, Overlap, write_findings
from harness.errors import UsageError
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, Metric
from harness.records import BackendIdentity
from harness.results import ReplacementVerdict, Summary, VerdictTerms
from harness.runs.run_log import EARLY_STOP, Session
from harness.settings import Settings
from harness.statistics.posterior import probability_of_loss_below
from harness.statistics.tango import tango_interval
from harness.summary.summarise import summarise
from harness.summary.verdict_settings import DEFAULT_SOURCE, named_backends, verdict_terms
from tests.gate.building import judged, make_run, right_but

METRICS = (ACCURACY, FORMAT_ERROR_RATE)


def verdict_of(summary: Summary) -> ReplacementVerdict:
    assert summary.verdict is not None
    return summary.verdict


def identity(kind: str = "openai", adapter: str | None = None, **fields: Any) -> BackendIdentity:
    return BackendIdentity(kind=kind, model=fields.pop("model", "m"), decode="generate", adapter=adapter, **fields)


def named(candidate: str = "new", incumbent: str = "old", margin: float = 0.02) -> dict[str, VerdictTerms]:
    terms = VerdictTerms(incumbent=incumbent, candidate=candidate, margin=margin, margin_source="[gate] of bench.toml")
    return {"verdict": terms}


def test_the_bound_is_one_end_of_tangos_interval_and_that_of_the_gate(tmp_path: Path) -> None:
    wrong = {"new": right_but(*range(21)), "old": right_but(*range(100, 113))}
    log = make_run(tmp_path / "run", wrong, 600, metrics=METRICS, changes=named())
    log.write_summary(summarise(log, METRICS))
    found = verdict_of(log.summary() or pytest.fail("no summary"))
    low, high = tango_interval(21, 13, 600, 0.9)
    assert (found.candidate, found.incumbent, found.outcome, found.rows) == ("new", "old", "not shown", 600)
    assert (found.loss.low, found.loss.high) == pytest.approx((-high, -low))
    assert found.loss.high == pytest.approx(0.0302285, abs=1e-7)
    assert found.posterior is not None
    assert found.posterior.probability == probability_of_loss_below(0.02, 21, 13, 600)
    check = judged(tmp_path, log, candidate="new", reference="old").checks[0]
    assert (check.low, check.needed_rows) == (pytest.approx(-(found.loss.high or 0.0)), found.needed_rows)


def test_outcomes_follow_the_bound_and_the_margin(tmp_path: Path) -> None:
    def outcome(worse: int, better: int, margin: float) -> str:
        answers = {"new": right_but(*range(worse)), "old": right_but(*range(worse, worse + better))}
        log = make_run(tmp_path / f"{worse}-{better}-{margin}", answers, 600, changes=named(margin=margin))
        return verdict_of(summarise(log, (ACCURACY,))).outcome

    assert outcome(5, 5, 0.02) == "within margin"
    assert outcome(30, 10, 0.02) == "worse"
    assert outcome(90, 10, 0.02) == "beyond margin"
    assert outcome(30, 10, 0.1) == "within margin"
    assert outcome(0, 0, 0.02) == "unchanged"


def test_five_rows_are_no_proof_of_a_better_candidate(tmp_path: Path) -> None:
    log = make_run(tmp_path / "run", {"new": right_but(), "old": right_but(*range(5))}, 5, changes=named())
    found = verdict_of(summarise(log, (ACCURACY,)))
    assert (found.discordant, found.fewest_discordant) == (5, 6)
    assert found.loss.high == 0.0
    assert found.detectable is None


def test_an_answer_that_the_candidate_is_missing_counts_as_wrong(tmp_path: Path) -> None:
    answers = {"new": right_but(error=(0, 1, 2)), "old": right_but(*range(10, 20))}
    found = verdict_of(summarise(make_run(tmp_path / "run", answers, 600, changes=named()), METRICS))
    assert (found.rows, found.value_candidate) == (600, pytest.approx(597 / 600))


def test_too_many_missing_answers_leave_a_bound_and_no_verdict(tmp_path: Path) -> None:
    answers = {"new": right_but(missing=tuple(range(100, 600))), "old": right_but(3)}
    found = verdict_of(summarise(make_run(tmp_path / "run", answers, 600, changes=named()), (ACCURACY,)))
    assert (found.outcome, found.rows) == ("incomplete", 100)
    assert found.remarks == ("new lacks 500 of 600 answers, more than 1 %.",)


def test_after_an_early_stop_no_bound_of_a_fixed_number_of_rows_is_given(tmp_path: Path) -> None:
    answers = {"new": right_but(1, 2, missing=tuple(range(300, 600))), "old": right_but(3)}
    log = make_run(tmp_path / "run", answers, 600, changes=named())
    stopped = {"kind": EARLY_STOP, "message": "the answer is known."}
    log.note_session("new", Session(started="2026-01-05T10:00:00+00:00", wall_s=1.0, rows=300, stopped=stopped))
    found = verdict_of(summarise(log, (ACCURACY,)))
    assert found.sequential or found.loss.high is None


def test_rows_that_the_candidate_was_trained_on_do_not_help_it(tmp_path: Path) -> None:
    # Right on the 300 rows of its training, at 80 % of the others; the incumbent is right on 90 % of all.
    wrong = tuple(k for k in range(300, 600) if k % 5 == 0)
    log = make_run(
        tmp_path / "run", {"new": right_but(*wrong), "old": right_but(*range(0, 600, 10))}, 600, changes=named()
    )
    overlap = Overlap(source="train.jsonl", training_rows=300, exact=tuple(range(300)))
    everything = verdict_of(summarise(log, (ACCURACY,)))
    write_findings(log.path, Findings(overlaps={"new": overlap}))
    clean = verdict_of(summarise(log, (ACCURACY,)))
    assert (clean.rows, clean.basis) == (300, "that new was not trained on")
    assert (clean.loss.high or 0.0) > (everything.loss.high or 0.0)


def test_the_best_of_several_candidates_has_a_wider_bound(tmp_path: Path) -> None:
    answers = {f"ft{k}": right_but(*range(k, k + 12)) for k in range(5)} | {"api": right_but(*range(50, 62))}
    kinds = {name: identity("local", adapter=name) for name in answers if name != "api"} | {"api": identity()}
    one = {"verdict": VerdictTerms(candidate="ft0")}
    picked = verdict_of(summarise(make_run(tmp_path / "five", answers, 300, identities=kinds), (ACCURACY,)))
    alone = verdict_of(summarise(make_run(tmp_path / "one", answers, 300, identities=kinds, changes=one), (ACCURACY,)))
    assert (picked.candidates, alone.candidates) == (5, 1)
    assert picked.candidate == alone.candidate == "ft0"
    assert picked.level == pytest.approx(0.99)
    assert (picked.loss.high or 0.0) > (alone.loss.high or 0.0)


KINDS: list[tuple[dict[str, BackendIdentity], tuple[str, str]]] = [
    ({"api": identity(), "ft": identity("local", "a1")}, ("ft", "api")),
    ({"ft": identity("local", "a1"), "base": identity("local")}, ("ft", "base")),
    ({"local": identity("local"), "api": identity()}, ("local", "api")),
    ({"tfidf": identity("sklearn"), "api": identity()}, ("tfidf", "api")),
    ({"hosted": identity(model="ft:gpt-4.1:x"), "api": identity()}, ("hosted", "api")),
    ({"first": identity(), "last": identity()}, ("first", "last")),
]


@pytest.mark.parametrize(("kinds", "pair"), KINDS)
def test_the_tuned_or_local_one_would_replace_the_api(
    tmp_path: Path, kinds: dict[str, BackendIdentity], pair: tuple[str, str]
) -> None:
    answers = {name: right_but(k) for k, name in enumerate(kinds)}
    log = make_run(tmp_path / "run", answers, 40, identities=kinds)
    found = verdict_of(summarise(log, (ACCURACY,)))
    assert (found.candidate, found.incumbent) == pair
    assert (found.margin, found.margin_source) == (0.02, DEFAULT_SOURCE)


def test_among_backends_of_one_kind_the_dearest_is_the_incumbent(tmp_path: Path) -> None:
    def priced(name: str, _: int, done: Any) -> Any:
        price = 0.01 if name == "first" else 0.001
        return msgspec.structs.replace(done, cost=msgspec.structs.replace(done.cost, list=price))

    log = make_run(tmp_path / "run", {"first": right_but(1), "last": right_but(2)}, 40, completion=priced)
    found = verdict_of(summarise(log, (ACCURACY,)))
    assert (found.candidate, found.incumbent) == ("last", "first")


def settings(**tables: Any) -> Settings:
    return Settings(backends={"gpt4": {}, "llama-ft": {}, "other": {}}, **tables)


def test_flags_win_over_the_table_and_a_backend_that_is_not_asked_is_left_out() -> None:
    table = settings(verdict={"incumbent": "gpt4", "candidate": "other"})
    assert named_backends(table, ["gpt4", "llama-ft"]) == ("gpt4", None)
    assert named_backends(table, ["gpt4", "llama-ft"], "llama-ft", "gpt4") == ("llama-ft", "gpt4")
    assert named_backends(table, ["gpt4", "llama-ft"], candidate="gpt4") == (None, "gpt4")


@pytest.mark.parametrize(
    ("table", "flags", "message"),
    [
        ({}, ("gpt", None), r"--incumbent gpt: this run asks no such backend; did you mean 'gpt4'\?"),
        ({}, (None, "other"), r"--candidate other: this run asks no such backend"),
        ({}, ("gpt4", "gpt4"), r"--incumbent and --candidate both name 'gpt4'"),
        ({"candidate": "lama-ft"}, (None, None), r"\[verdict\]: candidate: no backend 'lama-ft'.*'llama-ft'"),
        ({"candidate": "gpt4", "incumbent": "gpt4"}, (None, None), r"'gpt4' is named as incumbent and as candidate"),
        ({"margn": 0.02}, (None, None), r"\[verdict\]: unknown key 'margn'; did you mean 'margin'"),
    ],
)
def test_wrong_names_are_refused(table: dict[str, Any], flags: tuple[str | None, str | None], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        named_backends(settings(verdict=table), ["gpt4", "llama-ft"], *flags)


def test_the_margin_is_the_tables_then_the_gates_then_a_default() -> None:
    both = settings(verdict={"margin": 0.03}, gate={"accuracy": {"margin": 0.01}})
    assert verdict_terms(both, METRICS, ("a", "b")).margin == 0.03
    by_metric = settings(verdict={"margin": {"accuracy": 0.04}})
    assert verdict_terms(by_metric, METRICS, (None, None)).margin == 0.04
    gated = verdict_terms(settings(gate={"accuracy": {"margin": 0.01}}), METRICS, (None, None))
    assert (gated.margin, gated.margin_source) == (0.01, "[gate] of bench.toml")
    assert verdict_terms(settings(), METRICS, (None, None)).margin_source == DEFAULT_SOURCE
    words = Metric(name="words", row_value="words", proportion=False)
    assert verdict_terms(settings(), (words,), (None, None)).margin is None


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        (2, r"margin of accuracy is a share of rows, 0\.02 for 2 points, and not 2"),
        (0.0, r"margin of accuracy must be above 0"),
        ({"acuracy": 0.1}, r"margin: this task has no metric 'acuracy'; did you mean 'accuracy'"),
    ],
)
def test_a_margin_that_is_none_is_refused(margin: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        verdict_terms(settings(verdict={"margin": margin}), METRICS, (None, None))
