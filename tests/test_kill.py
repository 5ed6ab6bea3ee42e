"""kill -9 at any moment: nothing written is lost, nothing answered is asked twice, and the summary is the same."""

import json
import random
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from harness.results import Summary
from harness.runs.run_log import RunLog
from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.processes import BENCH, PATIENCE_S, count_lines, wait_until

ROWS = 120
CONCURRENCY = 4


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with rows of our own and a server setting."""
    rows = [{"text": f"Report number {n} on the matter of {n * n}", "label": n % 4} for n in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def start(work: Path, *args: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*BENCH, "run", *args, "--quiet", "--no-cache"], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def settings(work: Path, url: str) -> None:
    (work / "bench.toml").write_text(
        f'[backends.api]\nkind = "openai"\nmodel = "m"\nbase_url = "{url}"\nconcurrency = {CONCURRENCY}\n'
    )


def kill_at(process: "subprocess.Popen[bytes]", log: Path, lines: int) -> None:
    """Send SIGKILL once the log holds `lines` lines (or leave the process be when it has ended)."""
    wait_until(lambda: process.poll() is not None or count_lines(log) >= lines)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)


def results(run: Path) -> object:
    """The summary without what the clock decides: load, sessions, and the remark that a machine was too slow."""
    summary = RunLog.open(run).summary()
    assert isinstance(summary, Summary)
    plain = msgspec.to_builtins(summary)
    plain["backends"]["api"].pop("load")
    plain["warnings"] = [w for w in plain["warnings"] if "client-bound" not in w]
    return {k: v for k, v in plain.items() if k not in ("run", "created")}


def kill_and_resume(work: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    asked = ("--task", "agnews", "--backends", "api", "--data", "rows.jsonl")
    with OpenAIServer(ServerConfig(delay_s=0.004)) as server:
        settings(work, server.url)
        whole = start(work, *asked, "--out", "whole")
        _, said = whole.communicate(timeout=PATIENCE_S)
        assert whole.returncode == 0, said.decode()
        assert server.stats().answered == ROWS
        server.reset()

        log = work / "torn" / "api.jsonl"
        process = start(work, *asked, "--out", "torn")
        kept: list[bytes] = []
        for moment in sorted(chance.randrange(1, ROWS) for _ in range(kills)):
            kill_at(process, log, moment)
            whole_lines = log.read_bytes().split(b"\n")[:-1]
            assert whole_lines[: len(kept)] == kept, "what was written before a kill is there after the next"
            kept = whole_lines
            process = start(work, "--resume", "torn")
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said.decode()
        stats = server.stats()

    assert len(stats.by_prompt) == ROWS
    # Only what was in flight when a kill fell is sent again.
    assert stats.requests <= ROWS + kills * CONCURRENCY
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(line["n"] for line in lines) == list(range(ROWS))
    assert results(work / "torn") == results(work / "whole")


def test_a_run_survives_kills_at_seeded_moments(work: Path) -> None:
    kill_and_resume(work, kills=6, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
def test_a_run_survives_many_kills(work: Path, seed: int) -> None:
    kill_and_resume(work, kills=20, seed=seed)


def test_a_torn_line_of_every_length_is_mended(work: Path) -> None:
    with OpenAIServer() as server:
        settings(work, server.url)
        asked = ("--task", "agnews", "--backends", "api", "--data", "rows.jsonl", "--limit", "6", "--out", "run")
        assert start(work, *asked).wait(PATIENCE_S) == 0
        log = work / "run" / "api.jsonl"
        whole = log.read_bytes()
        before = results(work / "run")
        end = whole[:-1].rfind(b"\n") + 1
        for cut in (end + 1, (end + len(whole)) // 2, len(whole) - 1):
            log.write_bytes(whole[:cut])
            assert start(work, "--resume", "run").wait(PATIENCE_S) == 0
            assert sorted(json.loads(line)["n"] for line in log.read_text().splitlines()) == list(range(6))
            assert results(work / "run") == before


def test_ctrl_c_waits_for_what_is_in_flight_and_says_how_to_go_on(work: Path) -> None:
    with OpenAIServer(ServerConfig(delay_s=0.2)) as server:
        settings(work, server.url)
        process = start(work, "--task", "agnews", "--backends", "api", "--data", "rows.jsonl", "--out", "run")
        wait_until(lambda: count_lines(work / "run" / "api.jsonl") >= 10, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert "continue with `bench run --resume run`" in said.decode()
        assert "Traceback" not in said.decode()
        answered = count_lines(work / "run" / "api.jsonl")
        assert answered == server.stats().requests < ROWS
        server.change(ServerConfig())
        assert start(work, "--resume", "run").wait(PATIENCE_S) == 0
        assert server.stats().requests == ROWS
