"""What a gate says beside its verdict: proven losses, checks that are off, wide margins, rows that are too few."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.gating.ci_outputs import annotations, junit_xml, markdown
from harness.gating.gate_result import GateResult
from harness.records import BackendIdentity
from harness.results import VerdictTerms
from harness.statistics.multiple_testing import selection_level
from harness.statistics.noninferiority import LEVEL
from harness.statistics.rows_needed import two_digits
from harness.statistics.tango import tango_interval
from tests.gate.building import ONE_IN_TEN, ROWS, finished, judged, make_run, only, right_but, runs, shifted
from tests.support.command import bench


def pages(result: GateResult) -> list[str]:
    """Every text output of a gate but the terminal."""
    return [markdown(result), junit_xml(result).decode(), "\n".join(annotations(result))]


def test_a_pass_that_is_a_proven_loss_says_so(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN, *range(1, 120, 10)))
    result = judged(tmp_path, run, baseline, table={"accuracy": {"margin": 0.05}})
    check = only(result)
    assert (result.verdict, check.shown_worse) == ("pass", True)
    assert check.low is not None and check.high is not None and check.high < 0
    assert result.headline.startswith("PASS, though a is shown to be worse by ")
    assert result.headline.endswith(" points of accuracy: the 1 check, 1,500 rows.")
    assert f"shown to be worse by {-100 * check.high:.2g} to {-100 * check.low:.2g} points" in check.sentence


def test_a_pass_without_a_loss_says_nothing_of_one(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    result = judged(tmp_path, run, baseline)
    assert not only(result).shown_worse and "worse" not in result.headline


def test_a_limit_by_flag_comes_on_top_of_the_default_margins(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN, *range(1, ROWS, 10)))
    result = judged(tmp_path, run, baseline, table={}, flags={"format_error_rate": {"at_most": 0.02}})
    assert [(c.metric, c.kind) for c in result.checks] == [
        ("accuracy", "paired"),
        ("format_error_rate", "paired"),
        ("format_error_rate", "absolute"),
    ]
    assert result.verdict == "fail" and result.checks_off == ()


@pytest.mark.parametrize(
    ("table", "flags", "off"),
    [
        ({"format_error_rate": {"at_most": 0.02}}, {}, ("accuracy", "format_error_rate")),
        ({}, {"accuracy": {"margin": 0.02}}, ("format_error_rate",)),
        ({"accuracy": {"margin": 0.02}}, {"format_error_rate": {"margin": 0.01}}, ()),
        ({"on_inconclusive": "block"}, {}, ()),
    ],
)
def test_default_checks_that_are_off_are_named_in_every_output(
    tmp_path: Path, table: dict[str, object], flags: dict[str, dict[str, float]], off: tuple[str, ...]
) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    result = judged(tmp_path, run, baseline, table=table, flags=flags)
    assert result.checks_off == off
    for page in pages(result):
        assert ("not held against the reference" in page) == bool(off)
        assert all(f"--margin {name}" in page.replace("\\", "") for name in off)


def test_the_flags_that_are_advised_for_a_check_that_is_off_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    monkeypatch.chdir(tmp_path)
    words = ("gate", str(run.path), "--baseline", str(baseline))
    assert bench(*words, "--margin", "accuracy", "0.02") == 0
    shown = " ".join(capsys.readouterr().out.split())
    advice = shown.partition("Add ")[2].partition(" to check")[0]
    assert bench(*words, "--margin", "accuracy", "0.02", *advice.split()) == 0
    assert "not held against" not in capsys.readouterr().out


def test_a_margin_above_ten_points_is_called_wide(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    wide = judged(tmp_path, run, baseline, table={"accuracy": {"margin": 0.5}})
    assert wide.verdict == "pass" and any("a margin of 50 points passes a candidate" in w for w in wide.warnings)
    assert not judged(tmp_path, run, baseline, table={"accuracy": {"margin": 0.1}}).warnings


def test_too_few_rows_for_the_default_margins_are_said_with_the_number(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(5, 15), rows=120)
    result = judged(tmp_path, run, baseline, table={})
    assert only(result, "format_error_rate").needed_rows == 268
    assert "148 more rows (268 in all)" in only(result, "format_error_rate").sentence
    assert all("cannot be passed with fewer than 268 rows" in page for page in pages(result))


def test_a_loss_near_the_margin_says_after_how_many_rows_it_would_fail(tmp_path: Path) -> None:
    """Never to be passed, and all the same decided soon: by showing the loss."""
    wrong = (*range(0, 150, 10), 1, 11, 21)
    run, baseline = runs(tmp_path, right_but(*wrong), rows=150)
    check = only(judged(tmp_path, run, baseline))
    assert (check.verdict, check.needed_verdict, check.differing) == ("inconclusive", "fail", 3)
    assert check.needed_rows is not None and check.needed_rows < 500
    assert f"({two_digits(check.needed_rows):,} in all) would show that it is too bad" in check.sentence


def test_the_best_of_several_candidates_is_said_and_judged_by_wider_intervals(tmp_path: Path) -> None:
    tuned = {
        name: BackendIdentity(kind="local", model="base", decode="generate", adapter=name, adapter_sha256=name * 8)
        for name in ("ft1", "ft2", "ft3")
    }
    wrong = {"ft1": range(0, 900, 9), "ft2": range(4, 900, 9), "ft3": range(5, 900, 10), "api": range(1, 900, 10)}
    answers = {name: right_but(*rows) for name, rows in wrong.items()}
    run = finished(make_run(tmp_path / "r", answers, 900, identities=tuned))
    best = judged(tmp_path, run, candidate="ft3", reference="api", table={"accuracy": {"margin": 0.03}})
    check = only(best)
    assert (check.candidates, check.level) == (3, pytest.approx(1 - 0.1 / 3))
    assert any("ft3 is the best of 3 candidates of this run (ft1, ft2, ft3)" in line for line in best.warnings)
    assert "for the best of 3" in best.sentences[0]
    other = only(judged(tmp_path, run, candidate="ft1", reference="api", table={"accuracy": {"margin": 0.03}}))
    assert (other.candidates, other.level) == (1, pytest.approx(0.9)), "nobody picks one that is not the best"
    terms = VerdictTerms(candidate="ft3", incumbent="api")
    run.update_manifest(msgspec.structs.replace(run.manifest, verdict=terms))
    named = only(judged(tmp_path, run, candidate="ft3", reference="api", table={"accuracy": {"margin": 0.03}}))
    assert named.candidates == 1 and check.low is not None and named.low is not None and named.low > check.low


def test_the_best_of_five_at_the_margin_passes_in_one_of_twenty() -> None:
    """Each is 2 points worse than the reference; plain intervals pass the best of them far more often."""
    rng = np.random.default_rng(9)
    n, runs_made, passed, plain = 500, 600, 0, 0
    for _ in range(runs_made):
        reference = rng.random(n) < 0.9
        found = []
        for _ in range(5):
            better, worse = ~reference & (rng.random(n) < 0.3), reference & (rng.random(n) < 0.05 / 0.9)
            found.append((int(worse.sum()), int(better.sum())))
        worse_rows, better_rows = min(found, key=lambda pair: pair[0] - pair[1])
        for_five = tango_interval(worse_rows, better_rows, n, selection_level(LEVEL, 5))
        passed += for_five[0] > -0.02
        plain += tango_interval(worse_rows, better_rows, n, LEVEL)[0] > -0.02
    assert passed / runs_made <= 0.05 + 3 * (0.05 * 0.95 / runs_made) ** 0.5
    assert plain / runs_made > 0.08
