"""The gate's first sentence is that of the run: the same pair, rows, bound and figures."""

import io
from pathlib import Path

from rich.console import Console

from harness.gating.ci_outputs import markdown, show
from harness.gating.power_report import power_report
from harness.metrics import ACCURACY, CLASSIFICATION
from harness.results import VerdictTerms
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.summary.stored_verdict import detects, verdict_sentence
from harness.summary.summarise import summarise
from harness.summary.verdict_settings import verdict_terms
from tests.gate.building import finished, judged, make_run, right_but

NAMED = {"verdict": VerdictTerms(incumbent="big", candidate="small", margin=0.02, margin_source="[gate]")}


def run_of(folder: Path) -> RunLog:
    """Three backends; the pair that differs most is not the named one."""
    answers = {
        "small": right_but(*range(21)),
        "big": right_but(*range(100, 113)),
        "other": right_but(*range(200, 320)),
    }
    return finished(make_run(folder, answers, 600, changes=NAMED))


def test_run_power_and_gate_say_the_same_of_the_same_rows(tmp_path: Path) -> None:
    log = run_of(tmp_path / "run")
    summary = log.summary()
    assert summary is not None and summary.verdict is not None
    gate = judged(tmp_path, log, candidate="small", reference="big")
    assert gate.sentences == (verdict_sentence(summary.verdict, ACCURACY),)
    assert gate.sentences[0].startswith("small is at most 3.1 points less accurate than big (95 %, 600 rows); at a")
    assert gate.verdicts[0].loss.high == summary.verdict.loss.high
    assert gate.verdicts[0].level == summary.verdict.level == 0.95
    said = detects(600, summary.resolution, ACCURACY)
    assert said and gate.resolution.endswith(said)
    planned = power_report(log, None, None, (0.02,), 0.0, 0.8)
    assert planned.resolved[0].difference == summary.resolution == summary.verdict.detectable
    assert planned.basis == "of small and big, the pair of the run's verdict"


def test_the_run_needs_as_many_more_rows_as_a_gate_of_its_settings(tmp_path: Path) -> None:
    terms = verdict_terms(Settings(path=None, backends={}), CLASSIFICATION, ("big", "small"))
    assert terms.checks == 2  # accuracy and format errors, over which the gate corrects a harm
    answers = {"small": right_but(*range(21)), "big": right_but(*range(100, 113))}
    log = finished(make_run(tmp_path / "run", answers, 600, changes={"verdict": terms}))
    summary = log.summary()
    assert summary is not None and summary.verdict is not None
    gate = judged(tmp_path, log, candidate="small", reference="big", table={})
    check = next(c for c in gate.checks if c.metric == "accuracy")
    assert check.needed_rows is not None
    assert summary.verdict.needed_rows == check.needed_rows
    assert gate.sentences == (verdict_sentence(summary.verdict, ACCURACY),)


def test_the_sentence_stands_before_the_checks_in_terminal_and_markdown(tmp_path: Path) -> None:
    gate = judged(tmp_path, run_of(tmp_path / "run"), candidate="small", reference="big")
    out = io.StringIO()
    show(gate, Console(file=out, width=80))
    text = " ".join(out.getvalue().split())
    assert text.index("small is at most 3.1 points") < text.index("INCONCLUSIVE")
    page = markdown(gate)
    assert page.index("small is at most 3.1 points") < page.index("| check |")


def test_one_backend_of_two_runs_is_named_with_its_run(tmp_path: Path) -> None:
    new = finished(make_run(tmp_path / "new", {"a": right_but(*range(40))}, 600))
    old = finished(make_run(tmp_path / "old", {"a": right_but()}, 600))
    gate = judged(tmp_path, new, old.path)
    assert gate.sentences == (
        "a of new is at least 5.1 points less accurate than a of old (95 %, 600 rows): beyond the margin of 2.",
    )


def test_a_collapsed_candidate_is_called_out_by_the_gate(tmp_path: Path) -> None:
    log = make_run(tmp_path / "run", {"a": lambda *_: "Sports", "b": right_but(1, 2)}, 90, changes={"verdict": None})
    log.write_summary(summarise(log, CLASSIFICATION))
    warnings = judged(tmp_path, log, candidate="a", reference="b").warnings
    assert "a answered 'Sports' on 90 of 90 rows; 33.3 % of the references are 'Sports'." in warnings
