"""What was paid once is not paid again; an edit of anything that matters misses."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.backends.answer_cache import WRITE_EVERY, AnswerCache
from harness.errors import UsageError
from harness.records import Completion, Usage
from tests.openai.asking import ask, make, row, rows
from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.streams import each


def test_hits_cost_nothing_keep_their_list_cost_and_are_marked(server: OpenAIServer, tmp_path: Path) -> None:
    first = ask(server.url, tmp_path, rows(20), use_cache=True)
    again = ask(server.url, tmp_path, rows(20), use_cache=True)
    assert server.stats().requests == 20
    for name, hit in again.by_id.items():
        paid = first.by_id[name]
        assert hit.cached and not paid.cached
        assert (hit.text, hit.finish, hit.usage, hit.cost.list) == (paid.text, paid.finish, paid.usage, paid.cost.list)
        assert hit.cost.incurred == 0.0
        assert (hit.attempts, hit.timing.service_s) == (0, 0.0)
    assert again.counters["cached"] == 20


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"decode": "json"},
        {"extra_body": {"top_p": 0.5}},
        {"seed": False},
        {"omit": ["temperature"]},
        {"extra_headers": {"X-Route": "another-model"}},
    ],
    ids=str,
)
def test_another_model_or_body_misses(server: OpenAIServer, tmp_path: Path, change: dict[str, object]) -> None:
    ask(server.url, tmp_path, [row("r0")], use_cache=True)
    ask(server.url, tmp_path, [row("r0")], use_cache=True, **change)  # type: ignore[arg-type]
    assert server.stats().requests == 2


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"max_tokens": 9}, {"seed": 1}, {"repeat": 1}], ids=str)
def test_another_request_misses(server: OpenAIServer, tmp_path: Path, change: dict[str, object]) -> None:
    ask(server.url, tmp_path, [row("r0")], use_cache=True)
    ask(server.url, tmp_path, [row("r0", **change)], use_cache=True)
    assert server.stats().requests == 2


def test_a_schema_that_is_left_out_misses(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig())
    ask(server.url, tmp_path, [row("r0")], use_cache=True, decode="json")
    ask(server.url, tmp_path, [row("r0")], use_cache=True, decode="json", omit=["response_format"])
    assert server.stats().requests == 2


def test_another_base_url_misses(server: OpenAIServer, tmp_path: Path) -> None:
    ask(server.url, tmp_path, [row("r0")], use_cache=True)
    ask(server.url.replace("127.0.0.1", "localhost"), tmp_path, [row("r0")], use_cache=True)
    assert server.stats().requests == 2


def test_errors_are_not_kept(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(script=("500",)))
    assert ask(server.url, tmp_path, [row("r0")], use_cache=True, max_attempts=1).errors == {"server error": 1}
    assert ask(server.url, tmp_path, [row("r0")], use_cache=True).errors == {}


def test_two_processes_share_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from harness.backends.answer_cache import AnswerCache; from harness.records import *\n"
        "cache = AnswerCache(Path(sys.argv[1]), 'm', 'scope')\n"
        "for n in range(int(sys.argv[2]), 3000, 2): cache.put(str(n), Completion(id='x', text=str(n), finish='stop'))\n"
        "cache.close()"
    )
    path = tmp_path / "cache.sqlite"
    both = [subprocess.Popen([sys.executable, "-c", program, str(path), str(k)]) for k in range(2)]
    assert [p.wait(60) for p in both] == [0, 0]
    cache = AnswerCache(path, "m", "scope")
    assert cache.stats().answers == 3000
    kept = cache.get("2999")
    assert kept is not None
    assert kept.text == "2999"
    cache.close()


def test_several_processes_may_create_it_at_the_same_moment(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from harness.backends.answer_cache import AnswerCache\n"
        "time.sleep(max(0.0, float(sys.argv[2]) - time.time()))\n"
        "AnswerCache(Path(sys.argv[1]), 'm', 'scope').close()"
    )
    for attempt in range(3):
        together = [sys.executable, "-c", program, str(tmp_path / f"{attempt}.sqlite"), str(time.time() + 0.5)]
        assert [p.wait(60) for p in [subprocess.Popen(together) for _ in range(4)]] == [0] * 4


def test_a_run_that_is_going_on_has_its_answers_on_disk(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(delay_s=0.01))

    async def go() -> None:
        from harness.backend import RunContext
        from harness.workspace import Workspace

        backend = make(server.url, tmp_path, context=RunContext(Workspace(tmp_path)), concurrency=16)
        stream = backend.stream(each(rows(600)), tmp_path)
        for _ in range(500):
            await anext(stream)
        other = AnswerCache(tmp_path / "cache.sqlite")
        assert other.stats().answers >= 256
        other.close()
        await stream.aclose()  # type: ignore[attr-defined]
        await backend.aclose()

    asyncio.run(go())


def test_an_unknown_cost_is_still_unknown_when_it_comes_from_the_cache(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(script=("no_usage",)))
    paid, hit = (ask(server.url, tmp_path, [row("r0")], use_cache=True).by_id["r0"] for _ in range(2))
    assert hit.cached
    assert paid.cost.list is hit.cost.list is None


def test_a_cache_that_can_no_longer_be_written_is_left_aside_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.backends.answer_cache.BUSY_S", 0.01)
    heard: list[str] = []
    cache = AnswerCache(tmp_path / "cache.sqlite", "m", "scope", heard.append)
    other = sqlite3.connect(tmp_path / "cache.sqlite")
    other.execute("BEGIN IMMEDIATE")
    for n in range(2 * WRITE_EVERY):
        cache.put(str(n), Completion(id="x", text="t", finish="stop"))
    assert cache.get("0") is None
    cache.close()
    cache.close()
    assert len(heard) == 1
    assert "is not used any longer (database is locked)" in heard[0]
    other.close()


def test_stats_and_clear_by_model(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    for model in ("a", "b"):
        cache = AnswerCache(path, model, model)
        for n in range(3):
            cache.put(str(n), Completion(id="x", text="t", finish="stop", usage=Usage(prompt_tokens=1)))
        cache.close()
    cache = AnswerCache(path)
    assert cache.stats().by_model == {"a": 3, "b": 3}
    assert cache.clear("a") == 3
    assert cache.stats().by_model == {"b": 3}
    assert cache.clear() == 3
    assert cache.stats().answers == 0
    assert cache.stats().oldest is None
    cache.close()


def test_a_file_that_is_no_cache_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"no database at all, just some bytes" * 100)
    with pytest.raises(UsageError, match=r"cannot be opened.*--no-cache"):
        AnswerCache(tmp_path / "cache.sqlite")
