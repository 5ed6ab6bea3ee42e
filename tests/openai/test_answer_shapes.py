"""A whole answer counts whatever its side fields look like; what did not end as an answer is none."""

from pathlib import Path
from typing import Any

import pytest

from tests.openai.asking import Asked, ask, row, rows
from tests.support.scripted_server import Answer, Call, ScriptedServer, chat

PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "World"}]
WHOLE: list[dict[str, Any]] = [
    chat(PARTS),
    chat(["Wor", "ld"]),
    chat([{"type": "output_text", "text": "World"}]),
    chat({"role": "assistant", "content": "World", "refusal": False, "tool_calls": None, "reasoning": None}),
    chat({"role": "assistant", "content": "World", "refusal": "", "annotations": [], "audio": None}),
    chat("World", system_fingerprint=12345),
    chat("World", system_fingerprint={"a": 1}, model=7, service_tier=["x"], created="now"),
    chat("World", usage=[]),
    chat("World", usage="none"),
    chat("World", usage={"prompt_tokens": "20", "completion_tokens": 2.0, "prompt_tokens_details": []}),
    chat("World", usage={"prompt_tokens": None, "completion_tokens": {}, "completion_tokens_details": 3}),
    chat("World", finish={"type": "stop"}),
    chat("World", finish="FinishReason.STOP"),
    chat("World", finish="end_turn"),
    chat("World", finish="eos_token"),
    chat("World", finish=None),
    chat("World", finish=7),
    chat("World", choice={"logprobs": [], "content_filter_results": {"hate": {"filtered": False}}}),
    chat("World", choice={"logprobs": {"content": [{"token": 1, "logprob": "x"}]}, "index": "0"}),
    chat("World", choice={"error": None}, error=None),
    chat("World", error={}, detail=None, code=0, message="success"),
    chat("World", error={"code": 0, "message": "success"}),
    {"choices": [{"text": "World", "finish_reason": "stop"}]},
    {"choices": [{"delta": {"content": "World"}, "finish_reason": "stop"}]},
    {"choices": {"message": {"content": "World"}, "finish_reason": "stop"}},
    {"choices": [None, {"message": "World", "finish_reason": "stop"}]},
]


def answered(body: Any, folder: Path, **settings: Any) -> Asked:
    with ScriptedServer(lambda call: body if isinstance(body, Answer) else Answer.json(body)) as server:
        asked = ask(server.url, folder, [row("r0")], **({"max_attempts": 1} | settings))
        assert len(server.calls) <= 2
    return asked


@pytest.mark.parametrize("body", WHOLE, ids=range(len(WHOLE)))
def test_an_answer_counts_whatever_stands_beside_it(tmp_path: Path, body: dict[str, Any]) -> None:
    answer = answered(body, tmp_path, logprobs=True).by_id["r0"]
    assert answer.error is None
    assert (answer.text, answer.finish, answer.attempts) == ("World", "stop", 1)


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("MAX_TOKENS", "length"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("maxTokens", "length"),
        ("FINISH_REASON_MAX_TOKENS", "length"),
        ("model_context_window_exceeded", "length"),
        ({"type": "length", "length": 8}, "length"),
        ("SAFETY", "content_filter"),
        ("sensitive", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("content-filter", "content_filter"),
        ("refusal", "refusal"),
        ("tool_calls", "stop"),
        ("COMPLETE", "stop"),
    ],
)
def test_a_reason_is_understood_in_every_providers_word(tmp_path: Path, finish: Any, expected: str) -> None:
    assert answered(chat("The topic is", finish), tmp_path).by_id["r0"].finish == expected


FAULTS: list[tuple[dict[str, Any], str]] = [
    (chat("World", "error"), "server error"),
    (chat("World", "abort"), "server error"),
    (chat("", "insufficient_system_resource"), "server error"),
    (chat("", "network_error"), "server error"),
    (chat("World", "OTHER"), "server error"),
    (chat("", "error", choice={"error": {"code": 502, "message": "Provider returned error"}}), "server error"),
    (chat("Wor", None, error={"message": "stream broke", "code": 500}), "server error"),
    (chat("World", "stop", error={"message": "upstream failed"}), "server error"),
    (chat("World", "stop", error="engine died"), "server error"),
    (chat("World", "vanished"), "bad body"),
    (chat("", None), "bad body"),
    ({"object": "error", "message": "engine is dead", "code": 500}, "server error"),
    ({"error": {"message": "Rate limit reached", "code": 429}}, "rate limit"),
    ({"error": {"message": "model is overloaded", "type": "overloaded_error"}}, "server error"),
    ({"choices": []}, "bad body"),
    ({"choices": None}, "bad body"),
    ({}, "bad body"),
]


@pytest.mark.parametrize(("body", "kind"), FAULTS, ids=range(len(FAULTS)))
def test_a_servers_fault_is_an_infrastructure_error_and_never_cached(
    tmp_path: Path, body: dict[str, Any], kind: str
) -> None:
    served = [body, chat("World")]
    with ScriptedServer(lambda call: Answer.json(served[min(len(server.calls), 2) - 1])) as server:
        first = ask(server.url, tmp_path, [row("r0")], max_attempts=1, use_cache=True).by_id["r0"]
        assert first.error is not None
        assert first.error.kind == kind
        second = ask(server.url, tmp_path, [row("r0")], use_cache=True).by_id["r0"]
    assert (second.text, second.cached) == ("World", False)


def test_a_fault_that_passes_is_asked_again(tmp_path: Path) -> None:
    bodies = iter([chat("", "error"), {"error": "try later"}, chat("World")])
    with ScriptedServer(lambda call: Answer.json(next(bodies))) as server:
        answer = ask(server.url, tmp_path, [row("r0")]).by_id["r0"]
    assert (answer.text, answer.attempts) == ("World", 3)


def test_errors_inside_a_200_mean_what_they_mean_elsewhere(tmp_path: Path) -> None:
    bodies = {
        "prompt r0": {"error": {"message": "prompt is too long: 9000 tokens > 8000 maximum"}},
        "prompt r1": {"error": {"message": "blocked", "code": "content_filter"}},
        "prompt r2": chat("World"),
    }
    with ScriptedServer(lambda call: Answer.json(bodies[call.prompt])) as server:
        asked = ask(server.url, tmp_path, rows(3))
    assert {name: c.finish for name, c in asked.by_id.items()} == {
        "r0": "context_too_long",
        "r1": "content_filter",
        "r2": "stop",
    }


def test_a_body_of_the_wrong_path_stops_the_backend_with_the_servers_sentence(tmp_path: Path) -> None:
    def misplaced(call: Call) -> Answer:
        return Answer.json(
            {"error": f"Unexpected endpoint or method. ({call.method} {call.path}). Returning 200 anyway"}
        )

    with ScriptedServer(misplaced) as server:
        asked = ask(server.url, tmp_path, rows(30), concurrency=1)
        assert len(server.calls) == 1
    assert asked.stop is not None
    assert "Unexpected endpoint or method" in str(asked.stop)
    assert server.url in str(asked.stop)


@pytest.mark.parametrize("body", [{"ok": True}, {"error": "something is wrong"}, "<html>Welcome to nginx!</html>"])
def test_bodies_that_are_never_answers_stop_the_backend_after_a_control_request(tmp_path: Path, body: Any) -> None:
    answer = Answer.text(body) if isinstance(body, str) else Answer.json(body)
    with ScriptedServer(lambda call: answer) as server:
        asked = ask(server.url, tmp_path, rows(30), concurrency=1)
        assert len(server.calls) < 12
    assert asked.stop is not None
    words = "nginx" if isinstance(body, str) else "something is wrong" if "error" in body else '{"ok": true}'
    assert words in str(asked.stop)


def test_reasoning_is_no_part_of_the_answer_wherever_it_stands(tmp_path: Path) -> None:
    shapes = [
        chat({"content": "World", "reasoning_content": "Sports or World?"}),
        chat({"content": "World", "reasoning": "Sports or World?"}),
        chat({"content": "World", "reasoning_details": [{"type": "reasoning.text", "text": "Sports or World?"}]}),
        chat({"content": "World", "thinking_blocks": [{"type": "thinking", "thinking": "Sports or World?"}]}),
        chat("<think>\nSports or World?\n</think>\n\nWorld"),
        chat("Sports or World?</think>World"),
        chat([{"type": "reasoning", "summary": [{"text": "Sports or World?"}]}, {"type": "text", "text": "World"}]),
        chat({"content": "<think>Sports or World?</think>World", "reasoning": "Sports or World?"}),
    ]
    for body in shapes:
        answer = answered(body, tmp_path).by_id["r0"]
        assert (answer.text, answer.reasoning) == ("World", "Sports or World?"), body


def test_a_parser_that_takes_the_answer_for_thoughts_loses_it_only_where_thinking_is_on(tmp_path: Path) -> None:
    body = chat({"content": None, "reasoning_content": "World"})
    on = answered(body, tmp_path).by_id["r0"]
    assert (on.text, on.reasoning) == ("", "World")
    off = answered(body, tmp_path, template={"enable_thinking": False}).by_id["r0"]
    assert (off.text, off.reasoning) == ("World", "")


def test_thoughts_that_took_all_tokens_leave_no_answer(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 8, "completion_tokens_details": {"reasoning_tokens": 8}}
    for message in ({"content": None, "reasoning_content": "Is it"}, {"content": "<think>Is it"}, {"content": ""}):
        answer = answered(chat(message, "length", usage=usage), tmp_path).by_id["r0"]
        assert (answer.text, answer.finish, answer.usage.reasoning_tokens) == ("", "length", 8)
