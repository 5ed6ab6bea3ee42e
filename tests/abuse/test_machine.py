"""What a machine does to a run: a full disk, no home, no locale, a jumping clock, a run directory that moves."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.runs.run_log import RunLog
from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.processes import BENCH, PATIENCE_S, count_lines, wait_until

ROWS = 150
ASKED = ("run", "--task", "agnews", "--data", "rows.jsonl", "--backends", "api", "--quiet")


@pytest.fixture
def work(tmp_path: Path, server: OpenAIServer) -> Path:
    """A folder with rows and a backend."""
    server.reset(ServerConfig(delay_s=0.002))
    rows = [{"text": f"Report number {n} on the matter of {n * n}", "label": n % 4} for n in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "bench.toml").write_text(
        f'[backends.api]\nkind = "openai"\nmodel = "m"\nbase_url = "{server.url}"\nconcurrency = 4\n'
    )
    return tmp_path


def bench(work: Path, *args: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*BENCH, *args],
        cwd=work,
        capture_output=True,
        text=True,
        errors="replace",
        env=env,
        timeout=PATIENCE_S,
        check=False,
    )


def assert_whole(run: Path) -> None:
    """Every row once, and a summary."""
    lines = [json.loads(line) for line in (run / "api.jsonl").read_text().splitlines()]
    assert sorted(line["n"] for line in lines if not line.get("error")) == list(range(ROWS))
    assert RunLog.open(run).summary() is not None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 kB: room for the rows of a run and some of its answers."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs the rights to do so")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_a_sentence_and_with_room_the_run_goes_on(
    work: Path, small_disk: Path, server: OpenAIServer
) -> None:
    full = bench(work, *ASKED, "--no-cache", "--out", str(small_disk / "run"))
    assert full.returncode not in (0, 70), full.stderr
    assert "Traceback" not in full.stderr
    assert "free the space, then continue with `bench run --resume" in full.stderr
    assert str(small_disk) in full.stderr
    paid = server.stats().requests
    kept = sum(1 for _ in (small_disk / "run" / "api.jsonl").open("rb"))
    assert 0 < kept < ROWS
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    again = bench(work, "run", "--resume", str(small_disk / "run"), "--quiet")
    assert again.returncode == 0, again.stderr
    assert_whole(small_disk / "run")
    assert server.stats().requests - paid <= ROWS - kept + 1, "a torn line may be asked again, nothing else"


def test_a_home_that_cannot_be_written_is_not_needed(work: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    env = {**os.environ, "HOME": str(home)}
    assert bench(work, *ASKED, "--out", "run", env=env).returncode == 0
    assert_whole(work / "run")


def test_neither_home_nor_locale_nor_a_known_time_zone_is_needed(work: Path) -> None:
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "Nowhere/Nothing", "PYTHONUTF8": "0"}
    ran = bench(work, *ASKED, "--out", "run", env=env)
    assert ran.returncode == 0, ran.stderr
    assert_whole(work / "run")
    assert bench(work, "report", "run", "--quiet", env=env).returncode == 0
    assert "</html>" in (work / "run" / "report.html").read_text("utf-8")


HALF_A_DAY_S = 43200.0
JUMPING = """
import random, sys, time
chance, honest = random.Random(1), time.time
time.time = lambda: honest() + chance.choice((-86400.0, 0.0, 0.0, 86400.0))
from harness.cli.main import main
main()
"""


def test_a_clock_that_jumps_changes_no_figure(work: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", JUMPING, *ASKED, "--out", "run"],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert_whole(work / "run")
    for line in (work / "run" / "api.jsonl").read_text().splitlines():
        assert all(0 <= s < HALF_A_DAY_S for s in json.loads(line)["timing"].values() if s is not None)


def test_a_run_directory_may_move_between_a_kill_and_its_end(work: Path, server: OpenAIServer) -> None:
    server.reset(ServerConfig(delay_s=0.05))
    process = subprocess.Popen([*BENCH, *ASKED, "--no-cache", "--out", "first"], cwd=work)
    log = work / "first" / "api.jsonl"
    wait_until(lambda: count_lines(log) >= 8, process)
    process.kill()
    process.wait(PATIENCE_S)
    shutil.copytree(work / "first", work / "copied")
    (work / "first").rename(work / "moved")
    for name in ("moved", "copied"):
        again = bench(work, "run", "--resume", name, "--quiet")
        assert again.returncode == 0, again.stderr
        assert_whole(work / name)


def test_a_directory_that_moves_while_it_is_written_loses_nothing(work: Path, server: OpenAIServer) -> None:
    server.reset(ServerConfig(delay_s=0.05))
    process = subprocess.Popen(
        [*BENCH, *ASKED, "--no-cache", "--out", "first"], cwd=work, stderr=subprocess.PIPE, text=True
    )
    log = work / "first" / "api.jsonl"
    wait_until(lambda: count_lines(log) >= 8, process)
    (work / "first").rename(work / "moved")
    _, said = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said
    again = bench(work, "run", "--resume", "moved", "--quiet")
    assert again.returncode == 0, again.stderr
    assert_whole(work / "moved")


def test_a_terminal_of_any_width_gets_words(work: Path) -> None:
    assert bench(work, *ASKED, "--out", "run").returncode == 0
    for columns in ("1", "20", str(random.Random(0).randint(40, 400))):
        told = bench(work, "compare", "run", "run", env={**os.environ, "COLUMNS": columns, "TERM": "dumb"})
        assert told.returncode == 0, told.stderr
        assert "rowsincommon" in "".join(told.stdout.split())
        listed = bench(work, "list", "tasks", env={**os.environ, "COLUMNS": columns})
        assert listed.returncode == 0
        assert "agnews" in listed.stdout.replace("\n", "")
