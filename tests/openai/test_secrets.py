"""A key comes from the environment and goes to its server, and nowhere else."""

import logging
import traceback
from pathlib import Path

import msgspec
import pytest

from harness.errors import BenchError, UsageError
from harness.runner import resume, run
from harness.settings import Settings
from harness.workspace import Workspace
from tests.openai.asking import ask, make, row, rows
from tests.support.openai_server import OpenAIServer, ServerConfig

KEY = "sk-very-secret-0123456789abcdef"


@pytest.mark.parametrize(
    "config", [ServerConfig(key=KEY), ServerConfig(key="another", answers=())], ids=["good", "bad"]
)
def test_no_key_in_run_directory_output_or_log(
    server: OpenAIServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    config: ServerConfig,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("MY_TOKEN", f"{KEY}-token")
    server.reset(config)
    (tmp_path / "rows.jsonl").write_text('{"text": "one", "label": 0}\n{"text": "two", "label": 1}\n')
    table = {
        "kind": "openai",
        "model": "m",
        "base_url": server.url,
        "api_key_env": "MY_KEY",
        "extra_headers": {"X-Team-Token": "env:MY_TOKEN"},
    }
    log = run(
        "agnews",
        ["api"],
        data=str(tmp_path / "rows.jsonl"),
        settings=Settings(backends={"api": table}),
        workspace=Workspace(tmp_path / "home"),
    )
    resume(log.path, settings=Settings(backends={"api": table}), workspace=Workspace(tmp_path / "home"))
    assert server.stats().requests > 0
    assert server.stats().last_headers[0]["x-team-token"] == f"{KEY}-token"
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    said = capfd.readouterr()
    assert KEY not in said.out + said.err + caplog.text
    assert msgspec.to_builtins(log.manifest)["backend_settings"]["api"]["extra_headers"] == {
        "X-Team-Token": "env:MY_TOKEN"
    }


def test_no_key_in_a_traceback(server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.reset(ServerConfig(key="another"))
    stop = ask(server.url, tmp_path, [row("r0")]).stop
    assert stop is not None
    assert "OPENAI_API_KEY was not accepted" in str(stop)
    assert KEY not in "".join(traceback.format_exception(stop))


def test_a_server_that_echoes_the_key_does_not_get_it_stored(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.reset(ServerConfig(answers=(f"your key is {KEY}",)))
    assert ask(server.url, tmp_path, [row("r0")]).by_id["r0"].text == "your key is [secret]"


def test_what_an_env_header_holds_is_not_stored_either(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", f"Bearer {KEY}")
    server.reset(ServerConfig(answers=(f"your token is {KEY}",)))
    asked = ask(server.url, tmp_path, [row("r0")], extra_headers={"X-Token": "env:MY_TOKEN"})
    assert asked.by_id["r0"].text == "your token is [secret]"


def test_a_word_that_stands_for_a_key_is_not_cut_out_of_answers(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "o")
    server.reset(ServerConfig(answers=("World",)))
    assert ask(server.url, tmp_path, [row("r0")]).by_id["r0"].text == "World"


def test_a_key_that_no_header_can_carry_is_told_without_showing_it(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"\N{LEFT DOUBLE QUOTATION MARK}{KEY}")
    with pytest.raises(UsageError, match=r"environment variable OPENAI_API_KEY holds a character") as error:
        ask(server.url, tmp_path, [row("r0")])
    assert KEY not in str(error.value)


def test_a_key_in_the_place_of_its_variables_name_is_neither_shown_nor_stored(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="api_key_env must be the name of an environment variable") as error:
        make("http://127.0.0.1:1/v1", tmp_path, api_key_env=KEY)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("url", ["http://[::1", "http://host:port/v1", "http://", "localhost:8000/v1"])
def test_an_address_that_is_none_is_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"\[backends.api\] base_url: '.*' is no http\(s\) URL"):
        make(url, tmp_path)


def test_a_proxy_without_a_scheme_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="proxy must be a URL like"):
        ask("http://127.0.0.1:1/v1", tmp_path, rows(1), proxy="proxy.example:3128")


def test_openai_without_a_key_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UsageError, match="environment variable MY_KEY is not set"):
        ask("https://api.openai.com/v1", tmp_path, rows(1), model="gpt-4.1", api_key_env="MY_KEY")


def test_other_servers_need_no_key(server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.reset(ServerConfig())
    assert ask(server.url, tmp_path, rows(2)).errors == {}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"extra_headers": {"Authorization": "Bearer abc"}}, "extra_headers.Authorization"),
        ({"extra_headers": {"X-Api-Key": "abc"}}, "extra_headers.X-Api-Key"),
        ({"extra_headers": {"Team-Auth": "abc"}}, "extra_headers.Team-Auth"),
        ({"extra_headers": {"X-Subscription-Key": "abc"}}, "extra_headers.X-Subscription-Key"),
        ({"extra_headers": {"X-Gateway": "Bearer abc"}}, "extra_headers.X-Gateway"),
        ({"url": "https://host/v1?key=abc"}, "base_url"),
        ({"extra_body": {"api_key": "abc"}}, "extra_body.api_key"),
        ({"proxy": "http://me:secret@proxy:1"}, "proxy"),
        ({"base_url": "https://me:secret@host/v1"}, "base_url"),
    ],
    ids=str,
)
def test_a_secret_in_plain_sight_is_refused(tmp_path: Path, settings: dict[str, object], key: str) -> None:
    with pytest.raises(UsageError, match=key.replace(".", r"\.")):
        make(**{"url": "http://127.0.0.1:1/v1", "folder": tmp_path} | settings)  # type: ignore[arg-type]


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(UsageError, match="NO_SUCH is not set"):
        ask("http://127.0.0.1:1/v1", tmp_path, rows(1), extra_headers={"X-Token": "env:NO_SUCH"})


def test_unknown_settings_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="'concurency'; did you mean 'concurrency'"):
        make("http://127.0.0.1:1/v1", tmp_path, concurency=3)
