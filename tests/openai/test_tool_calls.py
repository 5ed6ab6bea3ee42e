"""Calls of tools in the shapes of servers: whole answers and streams; the request that asks for one."""

import json
from typing import Any

import pytest

from harness.backends.openai.answer_parsing import read_answer
from harness.backends.openai.streaming import StreamReader
from harness.scoring.tool_calls import read_calls

CALL = {"name": "book", "arguments": {"place": "Nord", "seats": 2}}
WRITTEN = json.dumps(CALL["arguments"])


def body(message: dict[str, Any], reason: str = "tool_calls") -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": reason}]}).encode()


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": [{"id": "a", "type": "function", "function": {**CALL, "arguments": WRITTEN}}]},
        {"content": "", "tool_calls": [{"index": 0, "function": CALL}]},
        {"content": "I book it.", "tool_calls": [{"function": {**CALL, "arguments": WRITTEN}}]},
        {"content": None, "function_call": {**CALL, "arguments": WRITTEN}},
        {"content": None, "tool_calls": {"function": CALL}},
    ],
)
def test_a_call_is_the_answers_text(message: dict[str, Any]) -> None:
    answer = read_answer(body(message))
    assert json.loads(answer.text) == CALL and answer.finish == "stop"


def test_several_calls_are_a_list_and_broken_arguments_stay_as_they_came() -> None:
    two = [{"function": {**CALL, "arguments": WRITTEN}}, {"function": {"name": "leave", "arguments": ""}}]
    assert json.loads(read_answer(body({"content": None, "tool_calls": two})).text) == [
        CALL,
        {"name": "leave", "arguments": {}},
    ]
    broken = read_answer(body({"tool_calls": [{"function": {"name": "book", "arguments": '{"place": '}}]}))
    assert json.loads(broken.text) == {"name": "book", "arguments": '{"place": '}
    calls, alone = read_calls(broken.text)
    assert alone and calls[0].arguments is None


def test_a_call_that_is_streamed_in_pieces_is_put_together() -> None:
    reader = StreamReader()
    pieces: list[dict[str, Any]] = [
        {"role": "assistant", "content": None},
        {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "book", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": WRITTEN[:9]}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": WRITTEN[9:]}}]},
    ]
    brought = [reader.take(json.dumps({"choices": [{"delta": piece}]})) for piece in pieces]
    reader.take(json.dumps({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}))
    assert brought == [False, True, True, True]
    assert json.loads(reader.end().text) == CALL


@pytest.mark.parametrize("calls", ["x", [1], [{"function": "x"}], [{}], [{"function": {"arguments": 3}}], {}])
def test_calls_of_any_shape_do_not_crash(calls: object) -> None:
    answer = read_answer(body({"content": "text", "tool_calls": calls}))
    assert isinstance(answer.text, str)
