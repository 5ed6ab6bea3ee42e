"""A server that is down, or an address that is none of an API, is refused with a sentence before anything is asked."""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UsageError
from tests.openai.asking import ask, rows
from tests.support.scripted_server import Answer, Call, ScriptedServer, chat

PAGE = Answer.text("<html><body>Welcome to the print server</body></html>", 404)


def refused(url: str, folder: Path) -> str:
    with pytest.raises(UsageError) as error:
        ask(url, folder, rows(3))
    return str(error.value)


def test_a_server_that_is_down_is_named_with_address_and_cause(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        said = refused(url, tmp_path)
    assert url in said
    assert "Connection refused" in said
    assert "backend 'api'" in said


def test_a_host_without_an_address_is_named(tmp_path: Path) -> None:
    assert "no address" in refused("http://nowhere.invalid:8000/v1", tmp_path)


def test_something_that_does_not_speak_http_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = plain.accept()
                    with line:
                        line.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        threading.Thread(target=greet, daemon=True).start()
        url = f"http://127.0.0.1:{plain.getsockname()[1]}/v1"
        assert url in refused(url, tmp_path)


def models_below_v1(call: Call) -> Answer:
    return Answer.json({"data": [{"id": "m"}]}) if call.path == "/v1/models" else PAGE


def test_a_missing_v1_is_named(tmp_path: Path) -> None:
    with ScriptedServer(lambda call: PAGE, models_below_v1) as server:
        base = server.url.removesuffix("/v1")
        assert f'write base_url = "{server.url}"' in refused(base, tmp_path)
        assert f'write base_url = "{server.url}"' in refused(f"{server.url}/chat/completions", tmp_path)
        assert server.calls == []


def test_a_page_that_is_no_api_is_shown_by_its_first_words(tmp_path: Path) -> None:
    with ScriptedServer(lambda call: PAGE, lambda call: PAGE) as server:
        said = refused(server.url, tmp_path)
        assert [call.body for call in server.calls] == [{}], "no row was asked"
    assert server.url in said
    assert "Welcome to the print server" in said


@pytest.mark.parametrize(
    "models",
    [
        lambda call: Answer.json({"error": "no such page"}, 404),
        lambda call: PAGE,
        lambda call: Answer.json({"error": {"message": "key first"}}, 401),
        lambda call: Answer.json({"models": []}),
    ],
)
def test_a_server_that_lists_no_models_is_asked_all_the_same(tmp_path: Path, models: Callable[[Call], Answer]) -> None:
    def answer(call: Call) -> Answer:
        return Answer.json(chat("World")) if call.body else Answer.json({"error": {"message": "no messages"}}, 400)

    with ScriptedServer(answer, models) as server:
        asked = ask(server.url, tmp_path, rows(3))
    assert sorted(asked.by_id) == ["r0", "r1", "r2"]
    assert asked.errors == {}


def test_one_of_several_servers_that_is_down_does_not_stop_the_others(tmp_path: Path) -> None:
    with ScriptedServer(lambda call: Answer.json(chat("World"))) as server:
        asked = ask([server.url, "http://127.0.0.1:9/v1"], tmp_path, rows(6))  # type: ignore[arg-type]
    assert asked.errors == {}
    assert len(asked.completions) == 6
