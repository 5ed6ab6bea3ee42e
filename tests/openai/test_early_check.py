"""A server that is down is reported before rows are read and before the API client is imported."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import runner
from harness.backends.openai import early_check
from harness.backends.openai.early_check import refuse_unreachable
from harness.errors import UnreachableError
from harness.settings import Settings
from harness.workspace import Workspace
from tests.support.processes import ROOT
from tests.support.scripted_server import Answer, ScriptedServer, chat


@pytest.fixture
def closed() -> Iterator[str]:
    """An address that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.fixture
def unread(tmp_path: Path) -> Path:
    """A task whose rows cannot be read."""
    task = tmp_path / "parcels.toml"
    task.write_text('prompt = "{{ text }}"\nreference = "label"\nlabels = ["a", "b"]\ndata = "missing"\n', "utf-8")
    return task


def api(url: str) -> Settings:
    return Settings(backends={"api": {"kind": "openai", "model": "m", "base_url": url}})


def test_a_server_that_is_down_is_reported_before_rows_are_read(closed: str, unread: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"backend 'api': no server answers at .*Connection refused"):
        runner.run(str(unread), ["api"], settings=api(closed), workspace=Workspace(tmp_path))


def test_another_path_is_reported_before_rows_are_read(unread: Path, tmp_path: Path) -> None:
    page = Answer.text("<html>Welcome to the print server</html>", 404)
    with (
        ScriptedServer(lambda call: page, lambda call: page) as server,
        pytest.raises(UnreachableError, match="Welcome to the print server"),
    ):
        runner.run(str(unread), ["api"], settings=api(server.url), workspace=Workspace(tmp_path))


def test_servers_are_asked_for_their_models_once_in_a_run(tmp_path: Path) -> None:
    listed = []

    def models(call: object) -> Answer:
        listed.append(call)
        return Answer.json({"data": [{"id": "m"}]})

    with ScriptedServer(lambda call: Answer.json(chat("World")), models) as server:
        words = {"data": "embedded", "limit": 2, "probe_rows": 1, "workspace": Workspace(tmp_path)}
        runner.run("agnews", ["api"], settings=api(server.url), **words)  # type: ignore[arg-type]
    assert len(listed) == 1


def test_neither_the_client_nor_scipy_is_imported_before_the_refusal(closed: str, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(f'[backends.api]\nkind = "openai"\nmodel = "m"\nbase_url = "{closed}"\n')
    code = (
        "import sys\nfrom harness.cli.main import main\n"
        "try: main(['run', '--task', 'agnews', '--data', 'embedded', '--backends', 'api'])\n"
        "except SystemExit as end: assert end.code == 2\n"
        "print(sorted({'openai', 'aiohttp', 'scipy', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(ROOT), "BENCH_HOME": str(tmp_path / "home"), "PATH": ""}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "Connection refused" in ended.stderr, ended.stderr
    assert ended.stdout.strip() == "[]"


def test_one_server_of_several_suffices(closed: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        refuse_unreachable("backend 'api'", [closed, f"http://127.0.0.1:{listening.getsockname()[1]}/v1"])
    with pytest.raises(UnreachableError, match="backend 'api'"):
        refuse_unreachable("backend 'api'", [closed, closed])


def test_a_host_that_is_never_resolved_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(early_check, "CONNECT_S", 0.05)
    monkeypatch.setattr(early_check, "connection_fault", lambda url: ended.wait(60))
    with pytest.raises(UnreachableError, match=r"http://gpu1:8000/v1 \(no connection within 0\.05 s\)"):
        refuse_unreachable("backend 'api'", ["http://gpu1:8000/v1"])
    ended.set()


def test_what_is_asked_through_a_proxy_of_the_environment_is_left_to_the_proxy(
    closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "gpu1.invalid")
    refuse_unreachable("backend 'api'", ["http://gpu2.invalid:8000/v1"])
    with pytest.raises(UnreachableError, match="no address"):
        refuse_unreachable("backend 'api'", ["http://gpu1.invalid:8000/v1"])
    with pytest.raises(UnreachableError, match="Connection refused"):  # loopback is never asked through it
        refuse_unreachable("backend 'api'", [closed])


def test_a_resumed_run_says_that_it_asks_where_it_began(tmp_path: Path) -> None:
    with ScriptedServer(lambda call: Answer.text("{}", 503), lambda call: Answer.text('{"data": []}')) as server:
        settings = Settings(
            backends={"api": {"kind": "openai", "model": "m", "base_url": server.url, "max_attempts": 1}}
        )
        where = Workspace(tmp_path)
        begun = runner.run("agnews", ["api"], data="embedded", limit=2, settings=settings, workspace=where)
    with pytest.raises(UnreachableError, match=r"no server answers at .* asks the address that it began with\."):
        runner.resume(begun.path, settings=settings, workspace=where)
