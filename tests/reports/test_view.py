"""`bench view`: who may read what, how far runs under way are, and how it ends."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.records import Completion, Failure
from harness.reports.run_server import RunServer
from harness.reports.run_state import RunWatch
from harness.runs.run_log import RunLog
from harness.scoring.label_parsing import score_label
from tests.support.command import bench
from tests.support.processes import PATIENCE_S, ROOT
from tests.support.synthetic_run import LABELS, MAKERS, synthetic_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A finished run, and one that has answered 30 of 40 rows, two of them with an error."""
    folder = tmp_path / "runs"
    synthetic_run(folder / "done", 20, makers={"m": MAKERS["llama-ft"]})
    under_way(folder / "begun")
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text('{"schema": 999}')
    return folder


def under_way(folder: Path) -> RunLog:
    whole = synthetic_run(folder.parents[1] / "whole", 40, makers={"m": MAKERS["llama-ft"], "n": MAKERS["gpt4"]})
    samples = [(row.sample, row.request) for row in whole.rows()]
    log = RunLog.create(folder, msgspec.structs.replace(whole.manifest, id="agnews-x-be9a", probe_rows=5), samples)
    with log.writer("m") as writer:
        for n, (sample, _) in enumerate(samples[:30]):
            done = Completion(id=sample.id, text=sample.reference, finish="stop")
            if n % 15 == 0:
                done = Completion(id=sample.id, error=Failure(kind="timeout", message="no answer"))
            writer.append(n, done, None if done.error else score_label(done, sample.reference, LABELS))
    with log.writer("n", probe=True) as writer:
        for n, (sample, _) in enumerate(samples[:3]):
            writer.append(n, Completion(id=sample.id, text="World", finish="stop"), None)
    return log


@pytest.fixture
def server(runs: Path) -> Iterator[RunServer]:
    server = RunServer(runs)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(server: RunServer, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=PATIENCE_S)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_address[1]}")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_counts_follow_the_logs(runs: Path) -> None:
    now = [0.0]
    watch = RunWatch(runs, clock=lambda: now[0])
    begun = next(s for s in watch.look() if s.folder.name == "begun")
    m, n = begun.backends
    assert (m.answered, m.errors, m.total, m.rate) == (28, 2, 40, None)
    assert (n.answered, n.probed, n.left_s) == (0, 3, None)
    log = RunLog.open(begun.folder)
    with log.writer("m") as writer:
        for row in log.rows():
            if row.n == 0 or row.n >= 35:  # the first had ended in an error
                writer.append(row.n, Completion(id=row.sample.id, text="World", finish="stop"), None)
    now[0] = 3.0
    m = next(s for s in watch.look() if s.folder.name == "begun").backends[0]
    assert (m.answered, m.errors, m.rate, m.left_s) == (34, 1, 2.0, 3.0)


def test_a_run_that_ends_or_breaks_is_seen(runs: Path) -> None:
    watch = RunWatch(runs)
    states = {s.folder.name: s for s in watch.look()}
    assert states["done"].summary is not None and states["begun"].summary is None
    assert "of schema 999" in states["broken"].problem
    summary = RunLog.open(runs / "done").summary()
    assert summary is not None
    RunLog.open(runs / "begun").write_summary(summary)
    assert next(s for s in watch.look() if s.folder.name == "begun").summary is not None


def test_the_page_shows_runs_under_way_and_links_reports(server: RunServer) -> None:
    status, page, headers = ask(server, f"/{server.token}/")
    assert status == 200 and headers["Cache-Control"] == "no-store" and headers["X-Frame-Options"] == "DENY"
    assert '<progress max="40" value="30" aria-label="m: 30 of 40">' in page
    assert "2 errors" in page and "latency probe: 3 rows" in page and "of schema 999" in page
    assert "connect-src &#39;self&#39;" in page
    (link,) = re.findall(r'href="(run/[^"]+)"', page)
    status, report, _ = ask(server, f"/{server.token}/{link}")
    assert status == 200 and "<h1>" in report and "rows-data" in report
    assert not list((server.pages._watch._runs / "done").glob("*.html"))


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/{wrong}/",
            "/{token}",
            "/{token}x/",
            "/{token}/run/begun",
            "/{token}/run/",
            "/{token}/manifest.json",
            "{token}/",
        ),
        *(
            "/{token}/run/../done",
            "/{token}/run/%2e%2e/done/manifest.json",
            "/{token}/run/done/x",
            "/%ff/",
        ),
    ],
)
def test_every_other_address_is_not_found(server: RunServer, path: str) -> None:
    status, said, _ = ask(server, path.format(token=server.token, wrong="x" * len(server.token)))
    assert (status, said) == (404, "Not found.\n")


def test_nobody_may_write_or_come_by_another_name(server: RunServer) -> None:
    home = f"/{server.token}/"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(server, home, method)[0] == 501
    assert ask(server, home, host="example.com")[0] == 404
    assert ask(server, home, host=f"localhost:{server.server_address[1]}")[0] == 200
    status, text, headers = ask(server, home, "HEAD")
    assert status == 200 and text == "" and int(headers["Content-Length"]) > 1000
    assert server.server_address[0] == "127.0.0.1"


def test_two_servers_have_two_tokens(runs: Path) -> None:
    one, two = RunServer(runs), RunServer(runs)
    assert one.token != two.token and len(one.token) >= 32
    one.server_close()
    two.server_close()


def test_a_port_that_is_taken_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert bench("view", "--port", str(port)) == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in capsys.readouterr().err


def test_ctrl_c_ends_it_cleanly(runs: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "view", "--json", "--quiet"],
        cwd=ROOT,
        env=os.environ | {"BENCH_HOME": str(runs.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = msgspec.json.decode(process.stdout.readline())["address"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", address)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0 and said == ""
