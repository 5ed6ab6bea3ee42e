"""Several servers under one backend: the least loaded first, a dead one set aside and tried again."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import UnreachableError
from tests.openai.asking import ask, rows
from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.processes import wait_until


@pytest.fixture
def two() -> Iterator[list[OpenAIServer]]:
    with OpenAIServer(ServerConfig(delay_s=0.01)) as one, OpenAIServer(ServerConfig(delay_s=0.01)) as other:
        yield [one, other]


def test_work_is_shared(two: list[OpenAIServer], tmp_path: Path) -> None:
    asked = ask("", tmp_path, rows(200), base_url=[s.url for s in two], concurrency=16)
    assert asked.errors == {}
    counts = [s.stats().answered for s in two]
    assert sum(counts) == 200
    assert min(counts) > 40


def test_a_slow_server_gets_less(two: list[OpenAIServer], tmp_path: Path) -> None:
    two[1].reset(ServerConfig(delay_s=0.2))
    ask("", tmp_path, rows(200), base_url=[s.url for s in two], concurrency=16)
    fast, slow = (s.stats().answered for s in two)
    assert fast > slow > 0


def test_a_dead_server_is_set_aside_and_no_row_is_lost(two: list[OpenAIServer], tmp_path: Path) -> None:
    two[1].stop()
    asked = ask("", tmp_path, rows(200), base_url=[s.url for s in two], concurrency=16)
    assert asked.errors == {}
    assert two[0].stats().answered == 200
    assert max(c.attempts for c in asked.completions) <= 3


def test_a_server_that_comes_back_is_used_again(two: list[OpenAIServer], tmp_path: Path) -> None:
    two[0].reset(ServerConfig(delay_s=0.05))
    two[1].stop()
    reviver = threading.Thread(target=two[1].start)
    reviver.start()
    urls = [s.url for s in two]
    asked = ask("", tmp_path, rows(400), base_url=urls, concurrency=8, hold=(50, reviver))
    assert asked.errors == {}
    assert two[1].stats().answered > 0


def test_when_no_server_answers_nothing_is_asked_and_the_address_is_named(
    two: list[OpenAIServer], tmp_path: Path
) -> None:
    urls = [s.url for s in two]
    for server in two:
        server.stop()
    with pytest.raises(UnreachableError, match=r"no server answers at http://127\.0\.0\.1:"):
        ask("", tmp_path, rows(5), base_url=urls, max_attempts=2)


def test_when_all_servers_go_away_rows_end_as_errors_with_a_name(two: list[OpenAIServer], tmp_path: Path) -> None:
    def stop() -> None:
        wait_until(lambda: sum(server.stats().answered for server in two) >= 10)
        for server in two:
            server.stop()

    urls = [s.url for s in two]
    stopper = threading.Thread(target=stop)
    stopper.start()
    asked = ask("", tmp_path, rows(40), base_url=urls, max_attempts=2, hold=(20, stopper))
    assert asked.errors.keys() == {"connection"}
    assert asked.stop is None
