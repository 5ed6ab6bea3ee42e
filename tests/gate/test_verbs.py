"""The verbs of the gate from the command line, and the pytest plugin in a pytest of its own."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.gating.gate_result import SCHEMA, GateResult
from harness.metrics import ACCURACY
from harness.runs.run_log import decode_schema
from harness.summary.summarise import summarise
from tests.gate.building import ONE_IN_TEN, ROWS, finished, make_run, right_but, runs, shifted
from tests.support.command import bench

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with its own workspace."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return tmp_path / "work"


def test_accept_then_gate(tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = finished(make_run(tmp_path / "reference", {"a": right_but(*ONE_IN_TEN)}, ROWS))
    candidate = finished(make_run(tmp_path / "candidate", {"a": right_but(*shifted())}, ROWS))
    assert bench("baseline", "accept", str(reference.path)) == 0
    assert "wrote topics-baseline.json: 1500 rows of a" in capsys.readouterr().out
    assert bench("gate", str(candidate.path), "--baseline", "topics-baseline.json") == 0
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith("PASS: all 2 checks, 1,500 rows.")
    assert "a margin of" in shown and "Bench's defaults" in shown
    saved = decode_schema((candidate.path / "gate.json").read_bytes(), GateResult, SCHEMA, "gate.json")
    assert saved.verdict == "pass"


def test_a_gate_never_touches_the_baseline(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    before = baseline.read_bytes()
    bench("gate", str(run.path), "--baseline", str(baseline))
    assert baseline.read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "flags", "code"),
    [
        (shifted(), (), 0),
        ((*ONE_IN_TEN, *range(1, ROWS, 10)), (), 1),
        (shifted(), ("--margin", "acuracy", "0.02"), 2),
        (shifted(), ("--margin", "accuracy", "wide"), 2),
        (shifted(), ("--on-inconclusive", "block", "--margin", "accuracy", "0.001"), 5),
        (shifted(), ("--margin", "accuracy", "0.001"), 0),
        (ONE_IN_TEN, ("--on-inconclusive", "block"), 0),
    ],
)
def test_exit_codes(tmp_path: Path, wrong: tuple[int, ...], flags: tuple[str, ...], code: int) -> None:
    run, baseline = runs(tmp_path, right_but(*wrong))
    assert bench("gate", str(run.path), "--baseline", str(baseline), *flags) == code


def test_exit_codes_of_runs_that_cannot_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, baseline = runs(tmp_path, right_but(*range(1, ROWS, 10), error=tuple(range(2, 400, 10))))
    assert bench("gate", str(run.path), "--baseline", str(baseline)) == 3
    assert bench("gate", str(run.path)) == 4
    other = finished(make_run(tmp_path / "o", {"a": right_but(5)}, ROWS, prompt="In other words: "))
    assert bench("gate", str(other.path), "--baseline", str(baseline)) == 4
    baseline.write_bytes(baseline.read_bytes()[:-200])
    assert bench("gate", str(run.path), "--baseline", str(baseline)) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_settings_come_from_bench_toml(tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    (place / "bench.toml").write_text('[gate]\non_inconclusive = "block"\naccuracy = { margin = 0.001 }\n')
    assert bench("gate", str(run.path), "--baseline", str(baseline), "--json") == 5
    out = capsys.readouterr()
    result = json.loads(out.out)
    assert result["checks"][0]["needed_rows"] > ROWS
    assert "INCONCLUSIVE" in out.err
    (place / "bench.toml").write_text("[gate]\nacuracy = { margin = 0.001 }\n")
    assert bench("gate", str(run.path), "--baseline", str(baseline)) == 2
    assert "unknown key 'acuracy'; did you mean 'accuracy'" in capsys.readouterr().err


def test_on_github_annotations_stand_on_standard_output_unless_json_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, baseline = runs(tmp_path, right_but(*ONE_IN_TEN, *range(1, ROWS, 10)))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    bench("gate", str(run.path), "--baseline", str(baseline), "--quiet")
    assert "::error title=" in capsys.readouterr().out
    bench("gate", str(run.path), "--baseline", str(baseline), "--json")
    out = capsys.readouterr()
    assert json.loads(out.out)["verdict"] == "fail" and "::error title=" in out.err


def test_compare_uses_the_common_rows_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = finished(make_run(tmp_path / "one", {"a": right_but(1, 2, 3), "b": right_but()}, 90))
    two = finished(make_run(tmp_path / "two", {"a": right_but(*range(0, 60, 2))}, 60))
    assert bench("compare", str(one.path), str(two.path)) == 0
    shown = capsys.readouterr().out
    assert "60 rows in common" in shown and "60 rows can detect a difference of" in shown
    assert "A better" in shown
    assert "! compared on the 60 rows that both asked in the same words, of 90 and 60." in shown
    assert bench("compare", str(one.path), str(two.path), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    accuracy = next(p for p in found["pairs"] if p["metric"] == "accuracy")
    assert (accuracy["only_a"], accuracy["only_b"], accuracy["rows"]) == (29, 2, 60)
    assert accuracy["p_holm"] == accuracy["p"]


def test_compare_leaves_out_what_one_run_has_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = finished(make_run(tmp_path / "one", {"a": right_but(1, 2, missing=(5,))}))
    two = make_run(tmp_path / "two", {"a": right_but()}, metrics=(ACCURACY,))
    two.write_summary(summarise(two, (ACCURACY,)))
    assert bench("compare", str(one.path), str(two.path), "--json") == 0
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert [pair["metric"] for pair in found["pairs"]] == ["accuracy"]
    assert "macro_f1 was measured in one of the runs only." in found["notes"]
    assert "a: rows that one side has not answered are left out: 59 remain." in found["notes"]


def test_compare_refuses_what_means_different_things(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = finished(make_run(tmp_path / "one", {"a": right_but()}))
    reworded = finished(make_run(tmp_path / "two", {"a": right_but()}, prompt="Other words: "))
    assert bench("compare", str(one.path), str(reworded.path)) == 4
    assert "no row with the same request" in capsys.readouterr().err
    reparsed = finished(make_run(tmp_path / "three", {"a": right_but()}, parser="2"))
    assert bench("compare", str(one.path), str(reparsed.path)) == 4
    assert "their scores mean different things" in capsys.readouterr().err


def test_power_plans_from_nothing_from_flags_and_from_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("power", "--margin", "0.02", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    [need] = plan["needs"]
    assert (need["size"], need["to_pass"], need["to_see"]) == (0.02, 773, pytest.approx(980, abs=2))
    assert (need["to_decide"], need["decision"], plan["default_gate_rows"]) == (773, "pass", 268)
    assert (plan["discordance"], plan["basis"]) == (0.05, "assumed")
    assert bench("power", "--rows", "7600") == 0
    assert "0.64 points" in capsys.readouterr().out
    run = finished(make_run(tmp_path / "r", {"a": right_but(*range(6)), "b": right_but(*range(3, 9))}, 60))
    assert bench("power", str(run.path), "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["basis"] == "of a and b, the pair of the run's verdict" and plan["discordance"] == pytest.approx(0.1)
    assert plan["resolved"][0]["rows"] == 60
    assert bench("power", "--margin", "0.02", "--loss", "0.02") == 0
    shown = capsys.readouterr().out
    assert "never" in shown and "(fail)" in shown and "fewer than 268 rows" in shown
    assert bench("power", "--margin", "2") == 2


def test_help_of_every_verb_here_imports_no_statistics() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom harness.cli.main import cli\n"
        "for verb in ('gate', 'compare', 'baseline', 'power'):\n"
        "    assert CliRunner().invoke(cli, [verb, '--help']).exit_code == 0\n"
        "heavy = {'numpy', 'scipy', 'rich', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy - {'msgspec'}, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


PLUGIN_TESTS = """
def test_passes(bench_gate):
    result = bench_gate(accuracy={"margin": 0.02})
    assert result.passed, result.headline

def test_fails(bench_gate):
    result = bench_gate(accuracy={"margin": 0.0001})
    assert result.passed, result.headline

def test_cannot_be_judged(bench_gate):
    bench_gate("no-such-run")
"""


def test_the_plugin_is_declared_where_pytest_looks() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"bench": "harness.pytest_plugin"}


def test_the_pytest_plugin_gives_a_team_assert_lines(
    tmp_path: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted()))
    pytester.makepyfile(PLUGIN_TESTS)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # whether installed or not, it is loaded once
    arguments = ("-p", "harness.pytest_plugin", "--bench-run", str(run.path))
    done = pytester.runpytest_inprocess(*arguments, "--bench-baseline", str(baseline))
    done.assert_outcomes(passed=1, failed=2)
    done.stdout.fnmatch_lines(["*AssertionError: INCONCLUSIVE: a: accuracy against the reference*"])
    done.stdout.fnmatch_lines(["*no run 'no-such-run'*"])
    skipped = pytester.runpytest_inprocess(*arguments)
    skipped.assert_outcomes(skipped=3)
