"""A run as an object: its table for pandas, and its displays in a terminal and in a notebook."""

import builtins
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness import BackendIdentity, Completion, Cost, Failure, Manifest, Run, RunLog, Sample, Score, Timing, Usage
from harness.errors import UsageError
from harness.metrics import ACCURACY, Estimate
from harness.records import Request
from harness.results import BackendResult, CostResult, Summary

MARKUP = "<script>alert(1)</script>[bold]"


def sample(n: int) -> Sample:
    return Sample.of({"text": f"text {n}"}, "yes", "test", group="g", columns={"text": f"column {n}"})


@pytest.fixture
def made(tmp_path: Path) -> Run:
    """Two rows asked twice of two backends: answers, an error, and rows that were never sent."""
    identity = BackendIdentity(kind="fake", model=MARKUP, decode="generate")
    manifest = Manifest(
        id="quiz-20260101-000000-ab12",
        task=MARKUP,
        task_spec="quiz",
        parser="1",
        rows=2,
        repeats=2,
        backends={"one": identity, "two": identity},
    )
    samples = [sample(0), sample(1)]
    log = RunLog.create(tmp_path / "run", manifest, [(s, Request(id=s.id, messages=())) for s in samples])
    with log.writer("one") as writer:
        answer = Completion(
            id=samples[0].id,
            text="Yes.",
            finish="stop",
            usage=Usage(prompt_tokens=5, completion_tokens=2),
            timing=Timing(service_s=0.5, queue_s=0.25),
            cost=Cost(list=0.001, incurred=0.0),
        )
        writer.append(0, answer, Score(answer="yes", correct=True, values={"text": 0.75}))
        failure = Failure(kind="timeout", message="no answer in 1 s")
        writer.append(1, Completion(id=samples[1].id, repeat=1, error=failure), None)
    return Run(log)


def ended(run: Run) -> Run:
    """The same run with a summary."""
    result = BackendResult(
        decode="generate",
        model=MARKUP,
        asked=4,
        answered=1,
        metrics={"accuracy": Estimate(value=0.75, low=0.5, high=0.875, n=1)},
        cost=CostResult(per_1000=1.25),
    )
    summary = Summary(run=run.id, task=MARKUP, rows=2, metrics=(ACCURACY,), backends={"one": result})
    run.log.write_summary(summary)
    return run


def test_the_table_has_a_row_for_each_row_backend_and_repeat(made: Run) -> None:
    table = made.to_pandas()
    assert len(table) == 2 * 2 * 2
    keys = list(zip(table["backend"], table["n"], table["repeat"], strict=True))
    assert keys == [(b, n, r) for b in ("one", "two") for n in (0, 1) for r in (0, 1)]
    assert list(table["status"]) == ["answered", "missing", "missing", "error", *["missing"] * 4]


def test_an_answer_stands_in_its_row_with_its_figures(made: Run) -> None:
    first = made.to_pandas().iloc[0]
    assert first["id"] == sample(0).id
    assert (first["answer"], bool(first["correct"]), first["text"], first["finish"]) == ("yes", True, "Yes.", "stop")
    assert (first["latency_s"], first["queue_s"]) == (0.5, 0.25)
    assert (first["cost_usd"], first["incurred_usd"]) == (0.001, 0.0)
    assert (first["prompt_tokens"], first["completion_tokens"]) == (5, 2)


def test_inputs_columns_and_values_of_one_name_stay_apart(made: Run) -> None:
    first = made.to_pandas().iloc[0]
    assert (first["input_text"], first["column_text"], first["value_text"]) == ("text 0", "column 0", 0.75)


def test_what_is_unknown_is_missing_and_never_zero(made: Run) -> None:
    table = made.to_pandas()
    error, missing = table.iloc[3], table.iloc[1]
    assert (error["error"], error["error_message"]) == ("timeout", "no answer in 1 s")
    assert table[["correct", "cost_usd"]].iloc[3].isna().all()
    assert missing[["text", "correct", "latency_s", "cost_usd", "prompt_tokens", "attempts"]].isna().all()
    assert table.groupby("backend")["correct"].mean()["one"] == 1.0  # missing rows and errors are not rated


def test_types_do_not_depend_on_what_is_missing(made: Run, tmp_path: Path) -> None:
    table = made.to_pandas()
    types = {str(name): str(kind) for name, kind in table.dtypes.items()}
    assert types["correct"] == types["cached"] == "boolean"
    assert types["prompt_tokens"] == "Int64"
    assert types["latency_s"] == types["cost_usd"] == "float64"
    assert types["answer"] == types["group"] == types["error"] == "string"


def test_without_pandas_a_sentence_says_how_to_install_it(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = builtins.__import__

    def without(name: str, *args: Any, **keywords: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return ordinary(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"needs pandas: python -m pip install .*pandas"):
        made.to_pandas()


def test_a_backend_that_the_run_does_not_hold_is_refused_with_the_nearest_name(made: Run) -> None:
    with pytest.raises(UsageError, match="did you mean 'one'"):
        made.lines("onee")


def test_the_text_shows_every_backend_with_metrics_and_intervals(made: Run) -> None:
    assert repr(ended(made)).splitlines()[0].startswith("Run ab12: ")
    assert "2 rows x 2" in repr(made)
    assert "75.0 [50.0, 87.5] %" in repr(made)
    assert "$1.25" in repr(made)


def test_a_run_under_way_says_so(made: Run) -> None:
    assert "not ended" in repr(made)
    assert "one" in repr(made)
    assert "not ended" in made._repr_html_()


def test_a_notebook_gets_no_markup_of_a_task_or_a_model(made: Run) -> None:
    for html in (made._repr_html_(), ended(made)._repr_html_()):
        assert "<script" not in html
        assert "&lt;script&gt;" in html
    assert "<table>" in made._repr_html_()


def test_a_rich_console_shows_the_table_and_obeys_no_markup(made: Run) -> None:
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=False).print(ended(made))
    assert "75.0 [50.0, 87.5] %" in out.getvalue()
    assert MARKUP in out.getvalue()
