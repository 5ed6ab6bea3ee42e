"""Two nodes on loopback, one of them killed with kill -9 in the middle: every row exactly once, the same answers."""

import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.runs.run_log import RunLog
from tests.cluster.conftest import ROWS
from tests.cluster.running import TINY, answers, ask, workers
from tests.support.processes import BENCH, PATIENCE_S, count_lines, wait_until
from tests.support.ray_nodes import Node, descendants

pytestmark = pytest.mark.cluster
KILLS = 20


def when(log: Path, count: int, action: Callable[[], object]) -> threading.Thread:
    """Act as soon as the log holds so many lines."""

    def act() -> None:
        wait_until(lambda: count_lines(log) >= count)
        action()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_two_nodes_answer_as_one_process(head: Node, rows: Path, alone: RunLog, tmp_path: Path) -> None:
    with Node("127.0.0.3", cpus=1, head=head):
        log = ask(rows, tmp_path / "run", **workers(head.gcs, 3))
    assert answers(log) == answers(alone)
    assert len(answers(log)) == ROWS
    summary, before = log.summary(), alone.summary()
    assert summary is not None
    assert before is not None
    assert summary.backends["tiny"].metrics == before.backends["tiny"].metrics
    assert summary.backends["tiny"].load.counters["workers"] == 3
    identity, single = log.manifest.backends["tiny"], alone.manifest.backends["tiny"]
    assert identity.settings["executor"] == "ray"
    assert identity.settings["workers"] == 3
    assert (identity.base_sha256, identity.decode) == (single.base_sha256, single.decode)
    assert log.manifest.request_hash == alone.manifest.request_hash


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_node_killed_in_the_middle_loses_no_row(
    head: Node, rows: Path, alone: RunLog, tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    moment = random.Random(seed).randrange(1, ROWS - 200)
    heard: list[str] = []
    with Node("127.0.0.3", cpus=1, head=head) as other:
        killer = when(tmp_path / "run" / "tiny.jsonl", moment, other.kill)
        log = ask(rows, tmp_path / "run", heard=heard, **workers(head.gcs, 3))
        killer.join(PATIENCE_S)
    assert answers(log) == answers(alone)
    summary = log.summary()
    assert summary is not None
    assert summary.complete
    lost = [text for text in heard if "was lost" in text]
    assert summary.backends["tiny"].load.counters["workers_lost"] == len(lost) == 1
    assert "node 127.0.0.3" in lost[0]
    assert capfd.readouterr().out == ""  # that is for results


def test_a_worker_that_dies_is_replaced(head: Node, rows: Path, alone: RunLog, tmp_path: Path) -> None:
    heard: list[str] = []
    dead: list[int] = []

    def kill_a_worker() -> None:
        assert head._process is not None
        for pid in descendants(head._process.pid):
            if b"LocalWorker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                dead.append(pid)
                os.kill(pid, signal.SIGKILL)
                return

    killer = when(tmp_path / "run" / "tiny.jsonl", 100, kill_a_worker)
    log = ask(rows, tmp_path / "run", heard=heard, **workers(head.gcs, 1))
    killer.join(PATIENCE_S)
    assert dead
    assert answers(log) == answers(alone)
    assert any(f"(process {dead[0]}) was lost" in text for text in heard)


def test_a_run_whose_driver_is_killed_is_resumed(head: Node, rows: Path, alone: RunLog, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(
        f'[backends.tiny]\nkind = "local"\nmodel = "{TINY}"\ndecode = "choose"\n'
        f'executor = "ray"\n[backends.tiny.ray]\nworkers = 2\naddress = "{head.gcs}"\n'
    )
    bench = [*BENCH, "run", "--quiet"]
    asked = ["--task", "agnews", "--backends", "tiny", "--data", str(rows), "--out", "run"]
    process = subprocess.Popen([*bench, *asked], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    when(tmp_path / "run" / "tiny.jsonl", 200, lambda: process.send_signal(signal.SIGKILL)).join(PATIENCE_S)
    process.communicate(timeout=PATIENCE_S)
    kept = count_lines(tmp_path / "run" / "tiny.jsonl")
    assert 200 <= kept < ROWS
    done = subprocess.run(
        [*bench, "--resume", "run"], cwd=tmp_path, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert answers(RunLog.open(tmp_path / "run")) == answers(alone)
