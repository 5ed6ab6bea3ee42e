"""Signs of a broken candidate are called out, and ordinary ones are not."""

from pathlib import Path

import pytest

from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, MACRO_F1
from harness.records import BackendIdentity, Sample
from harness.results import Summary
from harness.runs.run_log import RunLog
from harness.summary.summarise import summarise
from tests.gate.building import LABELS, Answer, make_run, right_but, sample

METRICS = (ACCURACY, FORMAT_ERROR_RATE)


def always(text: str, *but: int) -> "Constant":
    return Constant(text, but)


class Constant:
    """One answer everywhere but on some rows, which are answered rightly."""

    def __init__(self, text: str, but: tuple[int, ...]) -> None:
        self.text, self.but = text, but

    def __call__(self, k: int, row: Sample, repeat: int) -> Answer:
        return row.reference if k in self.but else self.text


def sentences(log: RunLog) -> list[str]:
    summary = summarise(log, METRICS)
    found = [f.sentence for f in summary.findings]
    assert all(text in summary.warnings for text in found)
    return found


def skewed(rows: int, share: int) -> list[Sample]:
    """Of every 100 rows so many are World, the others in turn."""
    return [
        Sample.of({"text": f"item {k}"}, "World" if k % 100 < share else LABELS[k % 3], "test") for k in range(rows)
    ]


def test_a_collapsed_candidate_is_named_with_its_one_answer(tmp_path: Path) -> None:
    found = sentences(make_run(tmp_path / "r", {"ft": always("Sports", 3)}, 90))
    assert found == [
        "ft answered 'Sports' on 89 of 90 rows; 33.3 % of the references are 'Sports'.",
        "ft: accuracy 34.4 % is not shown to be better than always answering 'World' (33.3 %).",
    ]


def test_a_candidate_below_the_constant_is_named(tmp_path: Path) -> None:
    rows = skewed(100, 60)
    wrong = tuple(range(45))
    found = sentences(make_run(tmp_path / "r", {"ft": right_but(*wrong)}, rows))
    share = 100 * sum(r.reference == "World" for r in rows) / 100
    assert found == [f"ft: accuracy 55.0 % is not better than always answering 'World' ({share:.1f} %)."]


def test_a_good_candidate_on_skewed_rows_is_not_named(tmp_path: Path) -> None:
    assert sentences(make_run(tmp_path / "r", {"ft": right_but(5)}, skewed(200, 90))) == []


def test_one_and_the_same_refusal_on_every_row_is_one_answer(tmp_path: Path) -> None:
    found = sentences(make_run(tmp_path / "r", {"ft": always("I cannot help with that.")}, 60))
    assert found[0] == "ft gave one and the same text on 60 of 60 rows."


def test_a_handful_of_rows_is_never_called_degenerate(tmp_path: Path) -> None:
    few = make_run(tmp_path / "r", {"a": always("World"), "b": always("World")}, 12)
    assert sentences(few) == []


def test_the_constant_line_scores_every_metric_that_it_can(tmp_path: Path) -> None:
    rows = [sample(0), sample(3), sample(1), sample(2)]
    summary: Summary = summarise(make_run(tmp_path / "r", {"a": right_but()}, rows), (*METRICS, MACRO_F1))
    assert summary.constant is not None
    assert (summary.constant.label, summary.constant.accuracy, summary.constant.rows) == ("World", 0.5, 4)
    assert summary.constant.metrics == pytest.approx({"accuracy": 0.5, "format_error_rate": 0.0, "macro_f1": 2 / 3 / 3})


def two(tmp_path: Path, a: BackendIdentity, b: BackendIdentity, wrong: tuple[int, ...] = (1, 5, 9)) -> list[str]:
    answers = {"one": right_but(*wrong), "two": right_but(*wrong)}
    return sentences(make_run(tmp_path / "r", answers, 60, identities={"one": a, "two": b}))


def local(adapter: str | None = None, model: str = "llama") -> BackendIdentity:
    return BackendIdentity(kind="local", model=model, decode="generate", adapter=adapter)


def test_a_tuned_model_that_answers_as_its_base_raises_a_question(tmp_path: Path) -> None:
    assert two(tmp_path, local(), local("a1")) == [
        "one and two gave the same text on 60 of 60 rows: is the adapter applied?"
    ]


def test_two_names_with_equal_answers_raise_a_question(tmp_path: Path) -> None:
    assert two(tmp_path, local(model="served-base"), local(model="served-ft")) == [
        "one and two gave the same text on 60 of 60 rows: is the adapter really (not) applied, or is one model behind "
        "both names?"
    ]


def test_two_models_that_are_right_everywhere_are_only_not_told_apart(tmp_path: Path) -> None:
    assert two(tmp_path, local(model="x"), local(model="y"), wrong=()) == [
        "one and two gave the same text on 60 of 60 rows: every answer is right, so these rows show no difference "
        "between them."
    ]


def test_the_same_model_twice_may_answer_alike(tmp_path: Path) -> None:
    assert two(tmp_path, local("a1"), local("a1")) == []


def test_one_row_that_differs_is_enough_to_say_nothing(tmp_path: Path) -> None:
    answers = {"one": right_but(1, 5), "two": right_but(1, 5, 9)}
    assert sentences(make_run(tmp_path / "r", answers, 60)) == []
