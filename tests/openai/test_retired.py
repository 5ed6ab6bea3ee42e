"""A model that was shut down is reported before anything is sent, with what to name instead."""

import datetime
from pathlib import Path

import pytest

from harness.backends.openai import early_check, server_check
from harness.errors import UsageError
from tests.openai.asking import ask, make, row
from tests.support.openai_server import OpenAIServer, ServerConfig

OPENAI = "https://api.openai.com/v1"


@pytest.fixture(autouse=True)
def a_day_in_november_2026(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (early_check, server_check):
        monkeypatch.setattr(module, "today", lambda: datetime.date(2026, 11, 20))


def test_gpt35_is_gone_at_openai(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        ask(OPENAI, tmp_path, [row("r0")], model="gpt-3.5-turbo")
    said = str(refused.value)
    assert "gpt-3.5-turbo was shut down on 2026-10-23" in said
    assert 'model = "gpt-6-luna" in [backends.api]' in said
    assert "base_url" in said


def test_elsewhere_it_may_live_on(server: OpenAIServer, tmp_path: Path) -> None:
    assert ask(server.url, tmp_path, [row("r0")], model="gpt-3.5-turbo").errors == {}


def test_a_servers_own_word_counts(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(models={"m": "2026-11-01", "n": "2027-03-01", "o": None}))
    with pytest.raises(UsageError, match="m was shut down on 2026-11-01"):
        ask(server.url, tmp_path, [row("r0")])
    assert server.stats().requests == 0
    assert ask(server.url, tmp_path, [row("r0")], model="n").errors == {}
    assert ask(server.url, tmp_path, [row("r0")], model="o").errors == {}


def test_the_day_that_is_coming_stands_in_the_identity(tmp_path: Path) -> None:
    assert make(OPENAI, tmp_path, model="gpt-4.1").identity().retired == "2027-01-14"


def test_a_server_that_lists_no_models_is_asked_all_the_same(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(key="wanted"))
    asked = ask(server.url, tmp_path, [row("r0")])
    assert asked.stop is not None
    assert asked.stop.kind == "authentication"
