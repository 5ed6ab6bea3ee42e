"""Whoever reads what a verb says may go away, or not be there at all: the verb ends as it would have ended."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gate.building import finished, make_run, right_but
from tests.support.processes import BENCH


@pytest.fixture
def nobody() -> Iterator[int]:
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize(("at_least", "code"), [("0.5", 0), ("0.99", 1)])
@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_gate_says_the_same_by_its_exit_code_when_nobody_reads_it(
    tmp_path: Path, nobody: int, at_least: str, code: int, how: tuple[str, ...]
) -> None:
    answers = right_but(*range(0, 300, 3))
    run = finished(make_run(tmp_path / "run", {"a": answers, "b": answers}, 300))
    flags = ("--candidate", "a", "--reference", "b", "--at-least", "accuracy", at_least, *how)
    done = subprocess.run(
        [*BENCH, "gate", str(run.path), *flags], cwd=tmp_path, stdout=nobody, stderr=nobody, timeout=60
    )
    assert done.returncode == code


def test_a_run_that_nobody_watches_is_finished(tmp_path: Path, nobody: int) -> None:
    news = Path(__file__).parents[2] / "tasks" / "data" / "news" / "test.jsonl"
    (tmp_path / "rows.jsonl").write_text("".join(news.read_text("utf-8").splitlines(keepends=True)[:20]), "utf-8")
    (tmp_path / "bench.toml").write_text('[backends.mute]\nkind = "replay"\npath = "answers.jsonl"\n')
    (tmp_path / "answers.jsonl").write_text("")
    words = ("run", "--task", "agnews", "--data", "rows.jsonl", "--backends", "mute", "--out", "run")
    done = subprocess.run([*BENCH, *words], cwd=tmp_path, stdout=nobody, stderr=nobody, timeout=60)
    assert done.returncode == 3  # no answer is recorded: incomplete, and not a word of rich's
    assert (tmp_path / "run" / "summary.json").is_file()


def test_closed_streams_are_no_fault(tmp_path: Path) -> None:
    command = " ".join(f"'{word}'" for word in (*BENCH, "list", "tasks"))
    assert subprocess.run(f"{command} >&- 2>&-", shell=True, cwd=tmp_path, timeout=60).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_standard_output_on_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*BENCH, "list", "tasks"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("bench: No space left on device")
