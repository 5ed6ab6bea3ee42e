"""A run in object storage: a real S3 server on loopback, kills, other machines, and what may go wrong there."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.runs.object_storage import ObjectStore, is_url
from tests.support.processes import PATIENCE_S, ROOT, wait_until

pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")

ROWS = 60
RUN = ("--task", "tests/support/fakes.py:Parity", "--quiet")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="runs")
    yield client
    for found in client.list_objects_v2(Bucket="runs").get("Contents", []):
        client.delete_object(Bucket="runs", Key=found["Key"])


def names(s3: Any, prefix: str = "r/") -> list[str]:
    found = s3.list_objects_v2(Bucket="runs", Prefix=prefix).get("Contents", [])
    return sorted(entry["Key"].removeprefix(prefix) for entry in found)


BENCH = """
import sys
from harness.runs import backend_log, storage_mirror
backend_log.SEGMENT_LINES = 10
storage_mirror.INTERVAL_S, storage_mirror.LOOK_S = 0.3, 0.1
from harness.cli.main import main
sys.exit(main())
"""


def machine(home: Path, delay_s: float = 0.0) -> Path:
    """A folder of its own, with settings: another machine as far as Bench can tell."""
    home.mkdir(exist_ok=True)
    table = f'kind = "tests.support.fakes:FakeBackend"\ndelay_s = {delay_s}\nwindow = 1\nwrong_every = 6\n'
    (home / "bench.toml").write_text(f"[backends.good]\n{table}")
    return home


def start(home: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BENCH, *words],
        cwd=ROOT,
        env=os.environ | {"BENCH_HOME": str(home), "NO_COLOR": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def bench(home: Path, *words: str, code: int = 0, **environment: str) -> str:
    process = start(home, *words, **environment)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


def run(home: Path, *words: str) -> tuple[str, ...]:
    return ("run", *RUN, "--backends", "good", "--config", str(home / "bench.toml"), *words)


def test_urls_are_told_from_paths() -> None:
    assert is_url("s3://bucket/run") and is_url("gs://b") and is_url("az://b/c")
    assert not any(is_url(word) for word in ("last", "runs/s3", "/s3://x", "https://b/c", "s3:/b"))
    with pytest.raises(UsageError, match="names no bucket"):
        ObjectStore.open("s3://")


@pytest.mark.slow
def test_a_run_is_copied_and_read_from_there(s3: Any, tmp_path: Path) -> None:
    home = machine(tmp_path / "a")
    bench(home, *run(home, "--out", "s3://runs/r"))
    assert [n for n in names(s3) if n.startswith("good/")] == [f"good/{k:05}.parquet" for k in range(6)]
    assert {"manifest.json", "samples.jsonl", "summary.json", "state/good/sessions.jsonl"} <= set(names(s3))
    other = machine(tmp_path / "b")
    bench(other, "report", "s3://runs/r", "--out", str(tmp_path / "r.html"), "--quiet")
    assert "<html" in (tmp_path / "r.html").read_text()
    versus = json.loads(bench(other, "compare", "s3://runs/r", "s3://runs/r", "--json", "--quiet").splitlines()[0])
    assert versus["rows"] == ROWS
    bench(other, "gate", "s3://runs/r", "--baseline", "s3://runs/r")
    bench(other, "leaderboard", "s3://runs", "--out", str(tmp_path / "board"), "--quiet")
    assert (tmp_path / "board" / "index.html").is_file()
    again = bench(other, *run(other, "--out", "s3://runs/r"), code=2)
    assert "s3://runs/r already holds a run: continue it with --resume s3://runs/r" in " ".join(again.split())


@pytest.mark.slow
@pytest.mark.parametrize("lines", [5, 23, 41])
def test_a_killed_run_is_finished_on_another_machine(s3: Any, tmp_path: Path, lines: int) -> None:
    home = machine(tmp_path / "a", delay_s=0.1)
    process = start(home, *run(home, "--out", "s3://runs/r"))
    wait_until(lambda: copied(s3) >= lines, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = copied(s3)
    assert lines <= before < ROWS
    other = machine(tmp_path / "b")
    bench(other, "run", "--resume", "s3://runs/r", "--config", str(other / "bench.toml"), "--quiet")
    summary = json.loads(s3.get_object(Bucket="runs", Key="r/summary.json")["Body"].read())
    result = summary["backends"]["good"]
    assert summary["complete"] and result["answered"] == ROWS
    assert result["cost"]["incurred"] == pytest.approx(0.001 * ROWS)  # every row that was copied was paid for once
    sessions = s3.get_object(Bucket="runs", Key="r/state/good/sessions.jsonl")["Body"].read().splitlines()
    assert [json.loads(s)["rows"] for s in sessions] == [ROWS - before]  # a killed session leaves no line
    assert not any(n.endswith(".jsonl") for n in names(s3, "r/good/"))


def copied(s3: Any) -> int:
    """Whole answers that have reached the bucket."""
    segments = [n for n in names(s3, "r/good/") if n.endswith(".jsonl")]
    bodies = [s3.get_object(Bucket="runs", Key=f"r/good/{n}")["Body"].read() for n in segments]
    return sum(body.count(b"\n") for body in bodies) if "manifest.json" in names(s3) else 0


@pytest.mark.slow
def test_what_may_not_be_written_is_told_before_anything_is_asked(s3: Any, endpoint: str, tmp_path: Path) -> None:
    home = machine(tmp_path / "a")
    said = bench(home, *run(home, "--out", "s3://no-such-bucket/r"), code=2)
    assert "s3://no-such-bucket/r cannot be written (there is no such bucket or object" in " ".join(said.split())
    user = boto3.client("iam", endpoint_url=endpoint)
    user.create_user(UserName="reader")
    key = user.create_access_key(UserName="reader")["AccessKey"]
    import requests

    requests.post(f"{endpoint}/moto-api/reset-auth", data="0", timeout=60)  # from now on rights are looked at
    try:
        pair = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        denied = " ".join(bench(home, *run(home, "--out", "s3://runs/r"), code=2, **pair).split())
        assert "s3://runs/r cannot be" in denied and "access is denied" in denied
        wrong = " ".join(bench(home, *run(home, "--out", "s3://runs/r"), code=2).split())
        assert "s3://runs/r cannot be" in wrong and "of-a-test" not in wrong
    finally:
        requests.post(f"{endpoint}/moto-api/reset-auth", data="inf", timeout=60)
    gone = bench(home, *run(home, "--out", "s3://runs/r"), code=2, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert "s3://runs/r cannot be" in " ".join(gone.split())
    assert not (home / "remote").exists()
    assert "is not a run: it holds no manifest.json" in " ".join(bench(home, "report", "s3://runs/r", code=2).split())


@pytest.mark.slow
def test_a_bucket_lost_on_the_way_loses_nothing(s3: Any, tmp_path: Path) -> None:
    home = machine(tmp_path / "a", delay_s=0.1)
    s3.create_bucket(Bucket="lost")
    process = start(home, *run(home, "--out", "s3://lost/r"))
    wait_until(lambda: "Contents" in s3.list_objects_v2(Bucket="lost"), process)
    while True:
        for found in s3.list_objects_v2(Bucket="lost").get("Contents", []):
            s3.delete_object(Bucket="lost", Key=found["Key"])
        try:
            s3.delete_bucket(Bucket="lost")
            break
        except s3.exceptions.ClientError:  # something was copied meanwhile
            continue
    said = " ".join(process.communicate(timeout=PATIENCE_S)[0].split())
    assert process.returncode == 3 and "Traceback" not in said
    (folder,) = (home / "remote").iterdir()
    assert "The run goes on in" in said
    assert f"Nothing is lost: the run is in {folder}; `bench run --resume {folder}` copies the rest." in said
    assert json.loads((folder / "summary.json").read_text())["complete"]
    s3.create_bucket(Bucket="lost")
    bench(home, "run", "--resume", str(folder), "--config", str(home / "bench.toml"), "--quiet")
    assert "r/summary.json" in [e["Key"] for e in s3.list_objects_v2(Bucket="lost")["Contents"]]


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(UsageError, match=r"az:// needs the package adlfs: python -m pip install adlfs"):
        ObjectStore.open("az://b/run")


def test_an_adapter_is_pushed_fetched_once_and_refused_where_it_has_changed(s3: Any, tmp_path: Path) -> None:
    from harness.remote_adapter import fetch_adapter, send_adapter

    files: dict[str, bytes | str] = {name: name.encode() for name in ("adapter_config.json", "manifest.json")}
    files["adapter_model.safetensors"] = b"weights"
    send_adapter(files, "s3://runs/adapters/mine")
    assert names(s3, "adapters/mine/")[-1] == "manifest.json" and len(names(s3, "adapters/mine/")) == 4
    folder = fetch_adapter("s3://runs/adapters/mine", tmp_path)
    assert (folder / "adapter_model.safetensors").read_bytes() == b"weights"
    s3.put_object(Bucket="runs", Key="adapters/mine/adapter_model.safetensors", Body=b"others!")
    assert fetch_adapter("s3://runs/adapters/mine", tmp_path) == folder, "kept under its hash"
    with pytest.raises(UsageError, match=r"adapter_model\.safetensors is not the file that was pushed"):
        fetch_adapter("s3://runs/adapters/mine", tmp_path / "another")
    with pytest.raises(UsageError, match=r"holds no checksums\.json"):
        fetch_adapter("s3://runs/adapters/yours", tmp_path)
