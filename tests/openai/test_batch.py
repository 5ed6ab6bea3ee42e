"""Batches cost half, survive a kill at any moment, and leave what expired to be asked again."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from harness.backend import RunContext
from harness.backends.openai.batch_jobs import BatchStateFiles
from harness.records import Completion, Request
from harness.workspace import Workspace
from tests.openai.asking import PRICE, Asked, ask, make, rows
from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.streams import each


def batch(server: OpenAIServer, folder: Path, requests: list[Request], **settings: object) -> Asked:
    return ask(server.url, folder, requests, batch=True, poll_s=0.02, **settings)  # type: ignore[arg-type]


def test_a_batch_answers_every_row_at_half_the_price(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.05))
    asked = batch(server, tmp_path, rows(30))
    assert sorted(asked.by_id) == sorted(r.id for r in rows(30))
    assert asked.errors == {}
    whole = ask(server.url, tmp_path / "whole", rows(30))
    assert {c.id: c.text for c in asked.completions} == {c.id: c.text for c in whole.completions}
    assert asked.incurred == pytest.approx(whole.incurred / 2)
    assert all(c.notes["batch"] == "batch_1" and c.timing.service_s == 0 for c in asked.completions)
    assert BatchStateFiles(tmp_path).pending() == []


def test_repeats_of_a_row_are_rows_of_their_own(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.01))
    twice = [Request(id="r", repeat=k, messages=rows(1)[0].messages) for k in range(2)]
    assert sorted((c.id, c.repeat) for c in batch(server, tmp_path, twice).completions) == [("r", 0), ("r", 1)]


def test_many_rows_are_cut_into_several_batches(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.01))
    assert len(batch(server, tmp_path, rows(25), batch_rows=10).by_id) == 25
    assert server.stats().batches == 3


def test_what_expired_has_a_name_and_is_asked_again(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.01, batch_expire=0.3))
    first = batch(server, tmp_path, rows(10))
    assert first.errors == {"batch expired": 3}
    server.reset(ServerConfig(batch_s=0.01))
    left = [r for r in rows(10) if first.by_id[r.id].error]
    assert batch(server, tmp_path, left).errors == {}


def test_a_kill_while_a_batch_runs_loses_nothing_and_pays_once(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=3600))

    async def killed_while_it_works() -> None:
        """Begin, and go without a word as soon as the provider has the batch, as kill -9 does."""
        backend = make(server.url, tmp_path, batch=True, poll_s=0.02)
        waiting = asyncio.ensure_future(anext(backend.stream(each(rows(8)), tmp_path)))
        while not server.stats().batches:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await backend.aclose()

    async def killed_after(take: int) -> list[Completion]:
        """Take some answers, and go."""
        backend = make(server.url, tmp_path, batch=True, poll_s=0.02)
        stream = backend.stream(each(rows(8)), tmp_path)
        taken = [await anext(stream) for _ in range(take)]
        await backend.aclose()
        return taken

    asyncio.run(killed_while_it_works())
    server.change(ServerConfig(batch_s=0.0))
    taken = asyncio.run(killed_after(3))
    rest = [r for r in rows(8) if r.id not in {c.id for c in taken}]
    asked = batch(server, tmp_path, rest)
    assert sorted([*asked.by_id, *(c.id for c in taken)]) == sorted(r.id for r in rows(8))
    assert server.stats().batches == 1


def test_a_batch_whose_id_was_never_written_is_found_by_its_token(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.01))
    batch(server, tmp_path, rows(4))
    (path,) = tmp_path.glob("batch-*.json")
    note = path.read_text().replace('"batch_1"', "null").replace('"collected": true', '"collected": false')
    path.write_text(note)
    assert len(batch(server, tmp_path, rows(4)).by_id) == 4
    assert server.stats().batches == 1


def test_a_batch_that_the_provider_does_not_know_stops_with_a_sentence_and_is_not_paid_again(
    server: OpenAIServer, tmp_path: Path
) -> None:
    server.reset(ServerConfig(batch_s=0.01))
    notes = BatchStateFiles(tmp_path)
    notes.write(msgspec.structs.replace(notes.begin(("r0/0",)), batch_id="batch_of_another_account"))
    asked = batch(server, tmp_path, rows(1))
    assert asked.stop is not None
    assert "the server has no such batch for this key, or no Batch API" in str(asked.stop)
    assert server.stats().batches == 0


def test_rows_whose_batch_was_never_made_are_asked(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.01))
    BatchStateFiles(tmp_path).begin(tuple(f"r{n}/0" for n in range(3)))
    assert len(batch(server, tmp_path, rows(3)).by_id) == 3
    assert server.stats().batches == 1


def test_a_line_that_cannot_be_read_costs_only_its_own_row(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.01, batch_odd=True))
    asked = batch(server, tmp_path, rows(10))
    assert asked.errors == {"batch completed": 1, "invalid request": 1}
    assert len(asked.by_id) == 10
    assert BatchStateFiles(tmp_path).pending() == []


def test_an_answer_that_a_batch_paid_keeps_its_list_cost_in_the_cache(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.01))
    first = batch(server, tmp_path, rows(4), use_cache=True)
    again = batch(server, tmp_path, rows(4), use_cache=True)
    assert server.stats().batches == 1
    assert {c.id: c.cost.list for c in again.completions} == {c.id: c.cost.list for c in first.completions}
    at_once = ask(server.url, tmp_path, rows(4), use_cache=True)
    assert at_once.by_id["r0"].cost.list == pytest.approx(2 * (first.by_id["r0"].cost.list or 0.0))


def test_a_ceiling_holds_for_batches_too(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.01))
    asked = batch(server, tmp_path, rows(200), max_cost=0.001)
    assert asked.stop is not None
    assert asked.stop.kind == "max cost"
    assert 0 < asked.incurred <= 0.001
    assert 10 < len(asked.completions) < 200


def test_progress_is_told_while_a_batch_works(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=1.0))
    heard: list[tuple[str, int, int]] = []

    async def go() -> None:
        context = RunContext(
            Workspace(tmp_path), use_cache=False, progress=lambda name, done, total: heard.append((name, done, total))
        )
        backend = make(server.url, tmp_path, context=context, batch=True, poll_s=0.03, price=PRICE)
        async for _ in backend.stream(each(rows(10)), tmp_path):
            pass
        await backend.aclose()

    asyncio.run(go())
    assert heard[0][2] == 10
    assert heard[-1] == ("api", 10, 10)
    assert any(0 < done < 10 for _, done, _ in heard)
