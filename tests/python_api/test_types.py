"""Type checkers see every public name with its type, as a program outside the project does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).parents[2]

PROGRAM = """
from harness import Backend, BackendIdentity, Completion, Metric, Record, Request, RunContext, Sample, Task, {names}
from harness import compare, gate, load_run, load_task, report, resume, run, train, user_message

made = run("agnews", ["gpt4"], limit=3)
reveal_type(made)
reveal_type(made.summary)
reveal_type(made.summary.backends["gpt4"].metrics["accuracy"].low)
reveal_type(made.lines("gpt4"))
reveal_type(resume("last"))
reveal_type(train("agnews").manifest.base)
reveal_type(compare("last", made).pairs)
reveal_type(gate(made).passed)
reveal_type(report(made))
reveal_type(load_run().path)
reveal_type(load_task("agnews").metrics)
reveal_type(user_message("Q: ", ("text", "")))
reveal_type(Sample.of({{"text": "a"}}, "b", "test").id)
reveal_type(Completion(id="a").usage.prompt_tokens)
"""

REVEALED = """
harness.runs.run_handle.Run
harness.results.Summary
float | None
dict[tuple[int, int, fallback=harness.records.Key], harness.records.LogLine]
harness.runs.run_handle.Run
str
tuple[harness.results.PairResult, ...]
bool
pathlib.Path
pathlib.Path
tuple[harness.metrics.Metric, ...]
tuple[tuple[harness.records.Message, ...], tuple[harness.records.InputSpan, ...]]
str
int
"""

MISTAKES = """
from harness import Sample, run, runn

run("agnews", ["gpt4"], limit="3")
run("agnews", ["gpt4"], limits=3)
Sample.of({"text": "a"}, "b")
"""


def mypy(program: str, folder: Path) -> str:
    """What `mypy --strict` prints of a program in a folder of its own."""
    (folder / "program.py").write_text(program, "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--hide-error-context", "--no-error-summary"),
            *("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"), "program.py"),
        ],
        cwd=folder,
        env={"MYPYPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith("program.py:"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("types")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_public_name_has_its_type(folder: Path) -> None:
    names = [name for name in harness.__all__ if not re.search(rf"\b{name}\b", PROGRAM)]
    program = PROGRAM.format(names=", ".join(names)) + "".join(f"reveal_type({name})\n" for name in names)
    printed = mypy(program, folder)
    assert not re.findall(r"^program\.py:\d+: error: .*", printed, re.MULTILINE)
    revealed = re.findall(r'Revealed type is "(.*)"', printed)
    assert len(revealed) == len(REVEALED.split("\n")) - 2 + len(names)
    shown = [re.sub(r"builtins\.|typing\.", "", one).replace("?", "") for one in revealed]
    assert shown[: len(REVEALED.split("\n")) - 2] == REVEALED.strip().split("\n")
    assert not [name for name, one in zip(names, shown[-len(names) :], strict=True) if one == "Any"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_wrong_name_or_argument_is_an_error(folder: Path) -> None:
    printed = mypy(MISTAKES, folder)
    assert 'Module "harness" has no attribute "runn"' in printed
    assert 'Argument "limit" to "run" has incompatible type "str"' in printed
    assert 'Unexpected keyword argument "limits" for "run"' in printed
    assert 'Missing positional argument "split" in call to "of" of "Sample"' in printed
