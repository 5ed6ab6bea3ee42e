"""What comes back from a server ends as an answer, as an answer without a label, or as an error with a name."""

import json
import urllib.request
from pathlib import Path

import pytest

from tests.openai.asking import LABELS, ask, row, rows
from tests.support.openai_server import OpenAIServer, ServerConfig, prompt_key


def test_every_row_is_asked_once_and_answered_once(server: OpenAIServer, tmp_path: Path) -> None:
    asked = ask(server.url, tmp_path, rows(50), concurrency=8)
    assert sorted(asked.by_id) == sorted(r.id for r in rows(50))
    assert len(asked.completions) == 50
    stats = server.stats()
    assert set(stats.by_prompt.values()) == {1}
    assert stats.max_in_flight <= 8
    first = asked.by_id["r0"]
    assert first.text in LABELS
    assert first.finish == "stop"
    assert first.notes["system_fingerprint"] == "fp_test"
    assert first.timing.service_s > 0
    assert first.timing.first_token_s is None
    assert len(first.prompt_hash or "") == 64
    assert len({c.prompt_hash for c in asked.completions}) == 50


def test_the_prompt_arrives_as_it_was_made(server: OpenAIServer, tmp_path: Path) -> None:
    ask(server.url, tmp_path, [row("r0", temperature=0.3, seed=7, stop=("\n",))])
    (body,) = server.stats().last_bodies
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "prompt r0"}],
        "max_tokens": 8,
        "temperature": 0.3,
        "seed": 7,
        "stop": ["\n"],
    }
    assert prompt_key(body["messages"]) in server.stats().by_prompt


def test_a_probe_and_a_batch_ask_what_a_run_asks(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(batch_s=0.0))
    asked = row("r0", temperature=0.3, seed=7, stop=("\n",))
    ask(server.url, tmp_path, [asked])
    ask(server.url, tmp_path, [asked], probing=True)
    ask(server.url, tmp_path, [asked], batch=True, poll_s=0.01)
    plain, streamed = server.stats().last_bodies
    assert {k: v for k, v in streamed.items() if k not in ("stream", "stream_options")} == plain
    with urllib.request.urlopen(f"{server.url}/files/file-1/content", timeout=60) as content:
        assert json.loads(content.read())["body"] == plain


@pytest.mark.parametrize(
    ("fault", "finish"),
    [
        ("refusal", "refusal"),
        ("content_filter", "content_filter"),
        ("content_filter_400", "content_filter"),
        ("invalid_prompt", "content_filter"),
        ("context_length", "context_too_long"),
        ("length", "length"),
        ("null_content", "stop"),
        ("remaining_zero", "stop"),
    ],
)
def test_answers_without_a_label_are_answers(server: OpenAIServer, tmp_path: Path, fault: str, finish: str) -> None:
    server.reset(ServerConfig(when={"prompt r1": fault}))
    asked = ask(server.url, tmp_path, rows(3))
    assert asked.stop is None
    assert asked.errors == {}
    assert asked.by_id["r1"].finish == finish
    assert server.stats().by_prompt[prompt_key([{"role": "user", "content": "prompt r1"}])] == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("500", "server error"),
        ("503", "server error"),
        ("409", "server error"),
        ("408", "timeout"),
        ("429", "rate limit"),
        ("overload", "rate limit"),
        ("bad_json", "bad body"),
        ("html", "bad body"),
        ("empty_choices", "bad body"),
        ("cut", "connection"),
        ("reset", "connection"),
        ("stall", "timeout"),
    ],
)
def test_what_may_succeed_is_asked_again_up_to_a_limit(
    server: OpenAIServer, tmp_path: Path, fault: str, kind: str
) -> None:
    patience = 1.5 if fault == "stall" else 60.0
    server.reset(ServerConfig(script=(fault,), stall_s=60, retry_after="0.05"))
    asked = ask(server.url, tmp_path, [row("r0")], timeout_s=patience)
    assert asked.errors == {}
    answer = asked.by_id["r0"]
    assert (answer.attempts, answer.finish) == (2, "stop")
    assert answer.notes["failed_attempts"].startswith(kind)
    assert answer.timing.retry_s > 0

    server.reset(ServerConfig(when={"r0": fault}, stall_s=60, retry_after="0.05"))
    asked = ask(server.url, tmp_path, rows(2), timeout_s=patience, max_attempts=2)
    assert asked.errors == {kind: 1}
    assert asked.by_id["r0"].attempts == 2
    assert asked.by_id["r1"].finish == "stop"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("401", "authentication"),
        ("403", "permission"),
        ("404", "not found"),
        ("insufficient_quota", "no quota"),
    ],
)
def test_what_cannot_succeed_stops_the_backend_at_once_and_loses_no_answer(
    server: OpenAIServer, tmp_path: Path, fault: str, kind: str
) -> None:
    server.reset(ServerConfig(when={"prompt r6": fault}, delay_s=0.02))
    asked = ask(server.url, tmp_path, rows(400), concurrency=4)
    assert asked.stop is not None
    assert asked.stop.kind == kind
    assert asked.errors == {kind: 1}
    assert "backend 'api'" in str(asked.stop)
    stats = server.stats()
    assert stats.requests == len(asked.completions) < 40  # every request that was sent has its completion
    assert set(stats.by_prompt.values()) == {1}


def test_a_retry_after_is_kept_and_other_rows_go_on_meanwhile(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(script=("429",), retry_after="2", headers=False))
    asked = ask(server.url, tmp_path, rows(6), concurrency=1)
    assert asked.errors == {}
    (slow,) = [c for c in asked.completions if c.attempts == 2]
    assert slow.timing.retry_s >= 2
    assert slow.timing.service_s < 2, "the wait is no part of the service"
    assert asked.completions[0] is not slow, "a row that waits holds no slot, not even the only one"
    assert server.stats().requests == 7


def test_a_stop_does_not_wait_for_rows_between_attempts(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(when={"r0": "429", "r5": "401"}, retry_after="120", headers=False))
    asked = ask(server.url, tmp_path, rows(9), concurrency=2)  # would take two minutes otherwise
    assert asked.stop is not None
    assert asked.stop.kind == "authentication"
    assert asked.errors == {"rate limit": 1, "authentication": 1}
    assert asked.by_id["r0"].attempts == 1


def test_a_deadline_ends_a_row_that_would_wait_too_long(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(when={"r0": "429"}, retry_after="3600", headers=False))
    asked = ask(server.url, tmp_path, rows(3), deadline_s=2.0)
    assert asked.errors == {"rate limit": 1}
    assert asked.by_id["r0"].attempts == 1


def test_a_lone_surrogate_does_not_lose_a_paid_answer(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(script=("surrogate",), answers=("World",)))
    asked = ask(server.url, tmp_path, [row("r0")])
    assert asked.by_id["r0"].text == "?World"
    assert server.stats().requests == 1


def test_a_probe_streams_and_notes_the_first_token(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(delay_s=0.05))
    asked = ask(server.url, tmp_path, rows(2), probing=True, use_cache=True)
    for completion in asked.completions:
        assert completion.text in LABELS
        assert completion.timing.first_token_s is not None
        assert 0.05 <= completion.timing.first_token_s <= completion.timing.service_s
        assert completion.usage.prompt_tokens > 0
        assert completion.cost.incurred
    assert all(body["stream"] for body in server.stats().last_bodies)
    assert not (tmp_path / "cache.sqlite").exists()


def test_counts_that_are_null_do_not_lose_a_paid_answer(server: OpenAIServer, tmp_path: Path) -> None:
    server.reset(ServerConfig(script=("null_counts",)))
    answer = ask(server.url, tmp_path, [row("r0")], logprobs=True).by_id["r0"]
    assert answer.text in LABELS
    assert answer.label_scores == {answer.text: -0.2}
    assert answer.cost.list is None
    assert server.stats().requests == 1


@pytest.mark.parametrize("fault", ["cut", "refusal", "length", "bad_json", "event_error", "event_garbage"])
def test_a_stream_that_breaks_is_no_answer(server: OpenAIServer, tmp_path: Path, fault: str) -> None:
    server.reset(ServerConfig(script=(fault,)))
    completion = ask(server.url, tmp_path, [row("r0")], probing=True, max_attempts=2).by_id["r0"]
    expected = {"refusal": "refusal", "length": "length"}.get(fault, "stop")
    assert completion.finish == expected
    assert completion.attempts == (1 if fault in ("refusal", "length") else 2)
