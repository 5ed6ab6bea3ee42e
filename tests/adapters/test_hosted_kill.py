"""A hosted training killed at any moment is continued: one job, one upload of each file, nothing paid twice."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from harness.adapter_manifest import read_manifest
from tests.adapters.hosting import KEY, conversations, notes, start
from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.processes import PATIENCE_S, wait_until

DONE = ServerConfig(tune_s=0.01)
"""A job that is under way has ended."""


def finish(process: "subprocess.Popen[str]") -> str:
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return said


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.communicate()


def proven(server: OpenAIServer, home: Path, uploads: int = 2) -> None:
    """One job, each file once, one whole adapter of that job."""
    stats = server.stats()
    assert (len(stats.jobs), len(stats.uploads), len(set(stats.uploads))) == (1, uploads, 2)
    (folder,) = (home / "adapters").glob("persona-json-*")
    manifest = read_manifest(folder)
    assert manifest.hosted is not None and manifest.hosted.job == "ftjob-1"
    assert not [p for p in home.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]


def test_killed_while_following(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=-1))
    data = conversations(tmp_path / "rows.jsonl", 20)
    process = start(server, data, tmp_path)
    wait_until(lambda: any(json.loads(n.read_bytes())["last_event"] for n in notes(tmp_path)), process)
    kill(process)
    server.change(DONE)
    said = finish(start(server, data, tmp_path))
    assert "continuing with job ftjob-1; nothing is uploaded or paid again" in said
    assert "Created fine-tuning job" not in said, "events shown before are not shown again"
    proven(server, tmp_path)


@pytest.mark.parametrize("metadata", [True, False], ids=["by its token", "by its training file"])
def test_killed_before_the_jobs_id_came_back(server: OpenAIServer, tmp_path: Path, metadata: bool) -> None:
    config = ServerConfig(tune_s=0.2, tune_hold="create", stall_s=30, tune_metadata=metadata)
    server.reset(config)
    data = conversations(tmp_path / "rows.jsonl", 20)
    process = start(server, data, tmp_path)
    wait_until(lambda: len(server.stats().jobs) == 1, process)
    kill(process)
    assert json.loads(notes(tmp_path)[0].read_bytes())["job"] is None
    assert "continuing with job ftjob-1" in finish(start(server, data, tmp_path))
    proven(server, tmp_path)


def test_killed_before_a_files_id_came_back(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=0.2, tune_hold="upload", stall_s=30))
    data = conversations(tmp_path / "rows.jsonl", 20)
    process = start(server, data, tmp_path)
    wait_until(lambda: len(server.stats().uploads) == 1, process)
    kill(process)
    assert json.loads(notes(tmp_path)[0].read_bytes())["files"] == {}
    finish(start(server, data, tmp_path))
    proven(server, tmp_path)


def test_ctrl_c_says_that_the_job_goes_on(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=-1))
    data = conversations(tmp_path / "rows.jsonl", 20)
    process = start(server, data, tmp_path)
    wait_until(lambda: any(json.loads(n.read_bytes())["last_event"] for n in notes(tmp_path)), process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, said
    assert f"job ftjob-1 goes on at {server.url} and is billed" in said and "--cancel" in said
    assert "job ftjob-1 is cancelled" in finish(start(server, data, tmp_path, "--cancel"))
    failed = start(server, data, tmp_path, "--max-cost", "0.0001")
    said, _ = failed.communicate(timeout=PATIENCE_S)
    assert failed.returncode == 2 and "nothing was sent" in said
    assert len(server.stats().jobs) == 1


def test_two_at_once_are_one(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(tune_s=-1))
    data = conversations(tmp_path / "rows.jsonl", 20)
    first = start(server, data, tmp_path)
    wait_until(lambda: bool(notes(tmp_path)), first)
    second = start(server, data, tmp_path)
    said, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 2 and "the same training is running already" in said
    server.change(DONE)
    finish(first)
    proven(server, tmp_path)
