"""What a gate says beside its verdict: proven losses, checks that are off, wide margins, rows that are too few."""

from pathlib import Path

import pytest

from harness.gate.annotations import annotations
from harness.gate.junit import junit_xml
from harness.gate.markdown import markdown
from harness.gate.records import GateResult
from harness.statistics.rows_needed import two_digits
from tests.gate.building import ONE_IN_TEN, ROWS, judged, only, right_but, runs, shifted
from tests.support.front_door import bench


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
    assert result.headline.endswith(" points of accuracy: the 1 check, 1500 rows.")
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
    assert f"({two_digits(check.needed_rows):,} in all) would show it to be too bad" in check.sentence
