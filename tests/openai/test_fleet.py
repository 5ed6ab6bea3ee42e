"""Servers that join and leave during a run: from a file, and from DNS."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.backends.openai.server_pool import ServerFile
from harness.errors import UsageError
from harness.results import BackendResult
from tests.openai.asking import ask, make, rows
from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.processes import wait_until

SLOW = ServerConfig(delay_s=0.02)


@pytest.fixture
def two() -> Iterator[list[OpenAIServer]]:
    with OpenAIServer(SLOW) as one, OpenAIServer(SLOW) as other:
        yield [one, other]


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Path]:
    """Writes the servers' file as a whole, as tools do: aside, then renamed."""

    def write(*lines: str) -> Path:
        aside, path = tmp_path / "aside", tmp_path / "servers.txt"
        aside.write_text("".join(line + "\n" for line in lines))
        os.utime(aside, ns=(time.time_ns(), time.time_ns()))
        return aside.replace(path)

    return write


def meanwhile(action: Callable[[], Any], when: Callable[[], bool]) -> threading.Thread:
    """Do something as soon as a condition holds."""

    def act() -> None:
        wait_until(when)
        action()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def fleet(path: Path, **settings: Any) -> dict[str, Any]:
    return {"base_url": None, "base_url_file": str(path), "reread_s": 0.05, "concurrency": 8, **settings}


def test_a_server_that_joins_the_file_is_used(
    two: list[OpenAIServer], tmp_path: Path, listed: Callable[..., Path]
) -> None:
    path = listed(two[0].url)
    both = ("# ours", two[0].url, f"{two[1].url}  # new")
    joining = meanwhile(lambda: listed(*both), lambda: two[0].stats().answered > 20)
    asked = ask("", tmp_path, rows(400), hold=(100, joining), **fleet(path))
    assert asked.errors == {}
    first, second = (s.stats().answered for s in two)
    assert first + second == 400
    assert second > 20
    assert asked.counters["servers"] == 2
    assert asked.counters["servers_joined"] == 1


def test_a_server_that_leaves_ends_what_it_has_and_gets_no_more(
    two: list[OpenAIServer], tmp_path: Path, listed: Callable[..., Path]
) -> None:
    path = listed(two[0].url, two[1].url)
    leaving = meanwhile(lambda: listed(two[0].url), lambda: two[1].stats().answered > 20)
    asked = ask("", tmp_path, rows(600), hold=(100, leaving), **fleet(path))
    assert asked.errors == {}
    assert max(c.attempts for c in asked.completions) == 1  # nothing in flight was cut off
    assert {c.notes["endpoint"] for c in asked.completions[-200:]} == {two[0].url}
    assert sum(s.stats().answered for s in two) == 600
    assert asked.counters["servers_left"] == 1


def test_a_server_that_leaves_and_dies_at_once_loses_no_row(
    two: list[OpenAIServer], tmp_path: Path, listed: Callable[..., Path]
) -> None:
    path = listed(two[0].url, two[1].url)
    two[1].reset(ServerConfig(delay_s=0.3))

    def go() -> None:
        listed(two[0].url)
        two[1].stop()

    going = meanwhile(go, lambda: two[1].stats().requests > 0 and two[0].stats().answered > 20)
    asked = ask("", tmp_path, rows(300), hold=(100, going), **fleet(path))
    assert asked.errors == {}
    assert len(asked.by_id) == 300


def test_a_server_that_dies_and_comes_back_is_used_again_and_each_servers_health_is_told(
    two: list[OpenAIServer], tmp_path: Path, listed: Callable[..., Path]
) -> None:
    two[0].reset(ServerConfig(delay_s=0.1))
    path = listed(two[0].url, two[1].url)

    def die_and_return() -> None:
        two[1].stop()
        failing = two[0].stats().answered
        wait_until(lambda: two[0].stats().answered > failing + 10)  # meanwhile it is missed
        two[1].start()

    reviving = meanwhile(die_and_return, lambda: two[1].stats().answered > 20)
    asked = ask("", tmp_path, rows(600), hold=(300, reviving), **fleet(path))
    assert asked.errors == {}
    back = two[1].stats().answered
    assert back > 0
    by_server = [sum(c.notes["endpoint"] == s.url for c in asked.completions) for s in two]
    assert sum(by_server) == 600
    assert by_server[0] == two[0].stats().answered
    assert by_server[1] > back  # before its death too
    failed = [url for c in asked.completions for url in c.notes.get("failed_at", "").split()]
    assert set(failed) == {two[1].url}


def test_what_is_wrong_in_the_file_is_told_with_its_line(tmp_path: Path, listed: Callable[..., Path]) -> None:
    def said(*lines: str) -> str:
        with pytest.raises(UsageError) as error:
            ServerFile(listed(*lines)).read()
        return str(error.value)

    assert "servers.txt:3: 'gpu1:8000' is no http(s) URL" in said("# all", "http://gpu0:8000/v1", "gpu1:8000")
    assert "servers.txt:1: 'http://gpu1:port/v1' is no http(s) URL" in said("http://gpu1:port/v1")
    assert "servers.txt:3: http://a:1/v1 is queued 1 already" in said("http://a:1/v1", "", "http://a:1/v1/")
    assert "servers.txt names no server" in said("# nobody", "")
    password = said("http://me:secret@a:1/v1")
    assert "servers.txt:1: the URL holds a password" in password
    assert "secret" not in password
    with pytest.raises(UsageError, match=r"nowhere.txt cannot be read \(No such file"):
        ServerFile(tmp_path / "nowhere.txt").read()


def test_a_file_that_goes_wrong_while_a_run_goes_on_changes_nothing_and_is_told(
    two: list[OpenAIServer], tmp_path: Path, listed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.backend import RunContext

    heard: list[str] = []
    honest = RunContext.__init__

    def listening(self: RunContext, *args: Any, **kwargs: Any) -> None:
        honest(self, *args, **{**kwargs, "remark": heard.append})

    monkeypatch.setattr(RunContext, "__init__", listening)
    path = listed(two[0].url)
    spoiling = meanwhile(lambda: listed("gpu1:8000"), lambda: two[0].stats().answered > 20)
    asked = ask("", tmp_path, rows(300), hold=(100, spoiling), **fleet(path))
    assert asked.errors == {}
    assert two[0].stats().answered == 300
    told = [text for text in heard if "servers.txt:1: 'gpu1:8000' is no http(s) URL" in text]
    assert len(told) == 1  # once, however often it is looked at
    assert told[0].endswith("Keeping the previous server list.")


def test_a_server_without_the_model_is_left_out(
    two: list[OpenAIServer], tmp_path: Path, listed: Callable[..., Path]
) -> None:
    two[1].reset(ServerConfig(models={"another": None}))
    asked = ask("", tmp_path, rows(50), **fleet(listed(two[0].url, two[1].url)))
    assert asked.errors == {}
    assert two[0].stats().answered == 50
    with pytest.raises(UsageError, match=r"does not serve m \(it serves another\)"):
        ask("", tmp_path, rows(5), **fleet(listed(two[1].url)))


@pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2")
def test_every_address_of_a_host_is_a_server_and_dns_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = ["127.0.0.1"]
    honest = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "fleet.test":
            return honest(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with OpenAIServer(SLOW) as one, OpenAIServer(SLOW, port=one.port, host="127.0.0.2") as other:
        url = f"http://fleet.test:{one.port}/v1"
        joining = meanwhile(lambda: known.append("127.0.0.2"), lambda: one.stats().answered > 20)
        asked = ask(url, tmp_path, rows(300), hold=(100, joining), base_url_dns=True, reread_s=0.05, concurrency=8)
        assert asked.errors == {}
        assert one.stats().answered + other.stats().answered == 300
        assert other.stats().answered > 20
        assert other.stats().last_headers[-1]["host"] == f"fleet.test:{one.port}"


def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    def said(**settings: Any) -> str:
        with pytest.raises(UsageError) as error:
            make("", tmp_path, **settings)
        return str(error.value)

    assert "leave base_url and base_url_dns out" in said(base_url="http://a/v1", base_url_file="servers.txt")
    assert "base_url_dns needs one http:// base_url" in said(base_url="https://a/v1", base_url_dns=True)
    assert "base_url_file works neither with azure nor with batch" in said(
        base_url=None, base_url_file="servers.txt", batch=True
    )


def test_the_summary_and_the_report_show_each_servers_share(
    two: list[OpenAIServer], tmp_path: Path, listed: Callable[..., Path]
) -> None:
    from harness import runner
    from harness.reports.run_page import write_report
    from harness.settings import Settings
    from harness.workspace import Workspace

    table = {"kind": "openai", "model": "m", "base_url_file": str(listed(two[0].url, two[1].url)), "concurrency": 8}
    log = runner.run(
        "agnews",
        ["fleet"],
        data="embedded",
        limit=60,
        settings=Settings(backends={"fleet": table}),
        workspace=Workspace(tmp_path / "bench"),
        use_cache=False,
    )
    summary = log.summary()
    assert summary is not None
    found: BackendResult = summary.backends["fleet"]
    assert set(found.servers) == {s.url for s in two}
    assert [found.servers[s.url].answered for s in two] == [s.stats().answered for s in two]
    assert sum(s.share for s in found.servers.values()) == pytest.approx(1.0)
    page = write_report(log, tmp_path / "report.html").read_text()
    assert "Servers of fleet" in page
    assert two[1].url in page
