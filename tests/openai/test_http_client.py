"""How a body reaches a server: headers, address, proxy; and what an answer that is none raises."""

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.backends.openai.http_client import HttpAnswer, HttpClient, StatusError, environment_proxy, make_client
from harness.backends.openai.openai_settings import Azure, OpenAISettings
from harness.errors import UsageError
from tests.openai.asking import ask, rows
from tests.support.openai_server import OpenAIServer
from tests.support.processes import ROOT
from tests.support.scripted_server import Answer, Call, ScriptedServer, chat


def post(client: HttpClient, times: int = 1) -> list[HttpAnswer]:
    async def go() -> list[HttpAnswer]:
        try:
            return [await client.post("/chat/completions", b"{}") for _ in range(times)]
        finally:
            await client.close()

    return asyncio.run(go())


def answered(call: Call) -> Answer:
    return Answer.json(chat("World"))


def test_the_users_headers_replace_those_of_the_same_name_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    with ScriptedServer(answered) as server:
        settings = OpenAISettings(model="m", base_url=server.url, extra_headers={"authorization": "Token mine"})
        post(make_client("api", settings, server.url, "key-of-the-variable"))
        (call,) = server.calls
    assert call.headers["authorization"] == "Token mine"
    assert call.headers["openai-project"] == "proj-1"
    assert call.headers["content-type"] == "application/json"


def test_azure_is_asked_at_its_deployment_with_its_own_key_header() -> None:
    settings = OpenAISettings(model="m", azure=Azure(deployment="my gpt", api_version="2024-10-21"))
    client = make_client("api", settings, "https://here.example", "secret-key")
    assert client.base_url == "https://here.example/openai/deployments/my%20gpt"
    assert client._query == {"api-version": "2024-10-21"}
    assert client._headers["api-key"] == "secret-key"
    assert "Authorization" not in client._headers


@pytest.mark.parametrize("status", [301, 308, 400, 404, 429, 500, 503])
def test_another_status_than_2xx_is_raised_with_its_body(status: int) -> None:
    def moved(call: Call) -> Answer:
        return Answer(status, "text/plain", (b"elsewhere",), (("Location", "http://127.0.0.1:9/v1"),))

    with ScriptedServer(moved) as server, pytest.raises(StatusError) as error:
        post(HttpClient(server.url, {}, 5.0))
    assert (error.value.status, error.value.content) == (status, b"elsewhere")
    assert error.value.headers["location"] == "http://127.0.0.1:9/v1"


def test_a_cookie_is_not_sent_back() -> None:
    def cookie(call: Call) -> Answer:
        return Answer(200, "application/json", (b"{}",), (("Set-Cookie", "session=1; Path=/"),))

    with ScriptedServer(cookie) as server:
        post(HttpClient(server.url, {}, 5.0), times=2)
        assert all("cookie" not in call.headers for call in server.calls)


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "http://gpu1:8000/v1", None),
        ({"HTTP_PROXY": "http://p:3128"}, "http://gpu1:8000/v1", "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128"}, "https://gpu1/v1", None),
        ({"HTTPS_PROXY": "p:3128"}, "https://api.example/v1", "http://p:3128"),
        ({"ALL_PROXY": "http://p:3128"}, "https://api.example/v1", "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128"}, "http://127.0.0.1:8000/v1", None),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "gpu1"}, "http://gpu1:8000/v1", None),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "gpu1:8000"}, "http://gpu1:8000/v1", None),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "gpu2"}, "http://gpu1:8000/v1", "http://p:3128"),
    ],
)
def test_the_environments_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None
) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(url) == proxy


def test_a_proxy_of_another_protocol_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:pw@p:1080")
    with pytest.raises(UsageError, match="only HTTP proxies") as error:
        environment_proxy("http://gpu1:8000/v1")
    assert "pw" not in str(error.value)


def test_rows_are_sent_without_the_official_client(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.openai.asking import ask, rows\n"
        "asked = ask(sys.argv[1], Path(sys.argv[2]), rows(3))\nassert len(asked.completions) == 3, asked.stop\n"
        "print(sorted({'openai', 'httpx2', 'httpx', 'pydantic', 'scipy', 'torch'} & set(sys.modules)))"
    )
    with OpenAIServer() as server:
        done = subprocess.run(
            [sys.executable, "-c", code, server.url, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_compressed_answer_is_read(tmp_path: Path) -> None:
    def packed(call: Call) -> Answer:
        body = gzip.compress(json.dumps(chat("World")).encode())
        return Answer(200, "application/json", (body,), (("Content-Encoding", "gzip"),))

    with ScriptedServer(packed) as server:
        asked = ask(server.url, tmp_path, rows(2))
    assert [c.text for c in asked.completions] == ["World", "World"]
