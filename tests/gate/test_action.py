"""The composite action: its own shell steps, run here as GitHub would run them."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gate.building import ONE_IN_TEN, ROWS, right_but, runs, shifted

yaml = pytest.importorskip("yaml", reason="reads action.yml; PyYAML comes with the local extra")

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
GH = """#!/bin/bash
echo "$@" >> "$GH_LOG"
if [ -n "$GH_REFUSES" ] && [[ "$*" == *"$GH_REFUSES"* ]]; then exit 1; fi
if [[ "$*" == *--paginate* ]]; then cat "$GH_COMMENTS"; fi
"""


class Runner:
    """A workflow job: environment files, an event, and a `gh` that writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outputs: dict[str, str] = {}
        for name in ("summary.md", "output.txt", "gh.log", "comments"):
            (folder / name).write_text("")
        tools = folder / "bin"
        tools.mkdir()
        (tools / "gh").write_text(GH)
        (tools / "gh").chmod((tools / "gh").stat().st_mode | stat.S_IXUSR)
        self.env = {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "RUNNER_TEMP": str(folder),
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_OUTPUT": str(folder / "output.txt"),
            "GH_LOG": str(folder / "gh.log"),
            "GH_COMMENTS": str(folder / "comments"),
            "GH_REFUSES": "",
            "BENCH_HOME": str(folder / "home"),
        }

    def step(self, name: str, **inputs: str) -> "subprocess.CompletedProcess[str]":
        """Run one step's script with its `env` filled in from inputs, outputs and the event."""
        defaults = {key: value.get("default", "") for key, value in ACTION["inputs"].items()}
        known = {
            f"inputs.{k}": v for k, v in {**defaults, **{k.replace("_", "-"): v for k, v in inputs.items()}}.items()
        }
        known |= {f"steps.gate.outputs.{k}": v for k, v in self.outputs.items()}
        known |= {"github.repository": "team/project", "github.event.pull_request.number": "7"}

        def fill(text: str) -> str:
            return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda m: known.get(m[1], ""), text)

        step: dict[str, Any] = STEPS[name]
        env = {**self.env, **{k: fill(str(v)) for k, v in step.get("env", {}).items()}}
        # `shell: bash` means exactly this on a runner.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True, timeout=120)
        for line in (self.folder / "output.txt").read_text().splitlines():
            key, _, value = line.partition("=")
            self.outputs[key] = value
        return done

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


BENCH = str(Path(sys.executable).with_name("bench"))


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    (tmp_path / "job").mkdir()
    return Runner(tmp_path / "job")


def _gate(runner: Runner, tmp_path: Path, wrong: tuple[int, ...], **inputs: str) -> "subprocess.CompletedProcess[str]":
    run, baseline = runs(tmp_path, right_but(*wrong))
    return runner.step("Gate", **{"run": str(run.path), "baseline": str(baseline), "bench": BENCH, **inputs})


def test_no_script_holds_an_expression() -> None:
    """Expressions are pasted before the shell reads them: a branch name could be a command."""
    assert all("${{" not in step["run"] for step in STEPS.values())


def test_a_failing_gate_writes_the_summary_first_and_fails_the_job_last(runner: Runner, tmp_path: Path) -> None:
    done = _gate(runner, tmp_path, (*ONE_IN_TEN, *range(1, ROWS, 10)))
    assert done.returncode == 0, done.stderr
    assert runner.outputs["exit-code"] == "1" and runner.outputs["verdict"] == "fail"
    assert "❌ Bench gate: FAIL" in runner.read("summary.md")
    assert "::error title=a%3A accuracy against the reference::" in done.stdout
    assert {p.name for p in Path(runner.outputs["results"]).iterdir()} >= {"gate.json", "gate.md", "gate.xml"}
    assert runner.step("Verdict").returncode == 1


def test_a_passing_gate_is_green(runner: Runner, tmp_path: Path) -> None:
    _gate(runner, tmp_path, shifted())
    assert runner.outputs["verdict"] == "pass"
    assert runner.step("Verdict").returncode == 0


def test_without_a_baseline_the_job_is_red_and_says_what_to_do(runner: Runner, tmp_path: Path) -> None:
    done = _gate(runner, tmp_path, shifted(), baseline=str(tmp_path / "missing.json"))
    assert done.returncode == 0
    assert runner.outputs["exit-code"] == "4" and runner.outputs["verdict"] == "none"
    assert "bench baseline accept RUN" in runner.read("summary.md")
    assert runner.step("Verdict").returncode == 4


def test_a_crash_does_not_read_as_a_failed_gate(runner: Runner, tmp_path: Path) -> None:
    crash = tmp_path / "crash"
    crash.write_text("#!/bin/bash\necho 'internal error (a bug in Bench)' >&2\nexit 70\n")
    crash.chmod(0o755)
    _gate(runner, tmp_path, shifted(), bench=str(crash))
    assert (runner.outputs["exit-code"], runner.outputs["verdict"]) == ("70", "none")
    assert "no verdict (exit code 70)" in runner.read("summary.md")
    assert runner.step("Verdict").returncode == 70


def test_block_reaches_the_command(runner: Runner, tmp_path: Path) -> None:
    _gate(runner, tmp_path, shifted(12), on_inconclusive="block")
    assert (runner.outputs["exit-code"], runner.outputs["verdict"]) == ("5", "inconclusive")


def test_inputs_are_data_and_never_code(runner: Runner, tmp_path: Path) -> None:
    _gate(runner, tmp_path, shifted(), candidate='$(touch "$HOME/owned"); `touch owned`')
    assert runner.outputs["exit-code"] == "2"
    assert not list(runner.folder.rglob("owned"))


def test_the_comment_is_written_once_and_then_updated(runner: Runner, tmp_path: Path) -> None:
    _gate(runner, tmp_path, shifted())
    assert runner.step("Comment").returncode == 0
    assert "--method POST repos/team/project/issues/7/comments -F body=@" in runner.read("gh.log")
    (runner.folder / "comments").write_text("4711\n4712\n")
    (runner.folder / "gh.log").write_text("")
    assert runner.step("Comment").returncode == 0
    assert "--method PATCH repos/team/project/issues/comments/4711 -F body=@" in runner.read("gh.log")
    assert "POST" not in runner.read("gh.log")


@pytest.mark.parametrize("refused", ["--paginate", "--method"])
def test_a_fork_without_the_right_to_comment_still_gets_its_verdict(
    runner: Runner, tmp_path: Path, refused: str
) -> None:
    _gate(runner, tmp_path, shifted())
    runner.env["GH_REFUSES"] = refused
    done = runner.step("Comment")
    assert done.returncode == 0
    assert "::notice title=Bench gate::" in done.stdout
    assert runner.step("Verdict").returncode == 0
