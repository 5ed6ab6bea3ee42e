"""Recorded answers stand in for a model: matched by id or prompt, the k-th row takes the k-th recording."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from harness.backend import RunContext, RunRequirements
from harness.backends.replay_backend import ReplayBackend
from harness.errors import UsageError
from harness.hashing import digest
from harness.records import Completion, Message, Request
from harness.settings import decode_table
from harness.workspace import Workspace
from tests.support.shared import SHARED, needs_shared
from tests.support.streams import each


def request(row_id: str, text: str, repeat: int = 0) -> Request:
    return Request(id=row_id, repeat=repeat, messages=(Message(role="user", content=text),))


def conversation(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def replay(path: Path, requests: list[Request], **settings: Any) -> list[Completion]:
    async def go() -> list[Completion]:
        table = {"kind": "replay", "path": str(path)} | settings
        backend = ReplayBackend(
            "old", decode_table(table, ReplayBackend.Settings, "x"), "t", RunContext(Workspace(path.parent))
        )
        await backend.check(RunRequirements(task="t", rows=len(requests)))
        assert backend.identity().settings["sha256"]
        return [c async for c in backend.stream(each(requests), path.parent)]

    return asyncio.run(go())


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_conversation_is_matched_by_its_prompt(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", conversation("one?", "1"), conversation("two?", "2"))
    answers = replay(path, [request("b", "two?"), request("a", "one?")])
    assert [(c.id, c.text, c.finish, c.cost.incurred) for c in answers] == [
        ("b", "2", "stop", 0.0),
        ("a", "1", "stop", 0.0),
    ]


def test_repeats_of_the_same_inputs_take_recordings_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", *(conversation("same?", str(k)) for k in range(1, 4)))
    rows = [request("h-3", "same?"), request("h", "same?"), request("h-2", "same?")]
    assert {c.id: c.text for c in replay(path, rows)} == {"h": "1", "h-2": "2", "h-3": "3"}


def test_repeats_of_a_row_take_further_recordings(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", conversation("q", "first"), conversation("q", "second"))
    assert [c.text for c in replay(path, [request("h", "q", 1), request("h", "q", 0)])] == ["second", "first"]


@pytest.mark.parametrize("name", ["id", "custom_id"])
def test_a_row_is_matched_by_id(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "r.jsonl", {name: "a", "text": "by id", "finish": "length"}, conversation("q", "by prompt"))
    (answer,) = replay(path, [request("a", "q")])
    assert (answer.text, answer.finish) == ("by id", "length")


def test_a_row_without_a_recording_is_an_error_with_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", conversation("q", "1"))
    missing, surplus = replay(path, [request("x", "other"), request("y-2", "q")])
    assert missing.error is not None and missing.error.kind == "not recorded"
    assert surplus.error is not None and surplus.error.kind == "not recorded"


def test_usage_that_was_recorded_gives_the_list_cost(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl", {"id": "a", "text": "t", "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    )
    (answer,) = replay(path, [request("a", "q")], price={"input": 1.0, "output": 2.0})
    assert answer.cost.list == pytest.approx(120e-6)
    assert answer.cost.incurred == 0.0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "r.jsonl:1: not a recording"),
        ('{"id": "a"}', 'r.jsonl:1: a recording needs "messages"'),
        ('{"messages": [{"role": "user", "content": "q"}]}', "r.jsonl:1: the last message must be the assistant's"),
        ('{"messages": []}', "r.jsonl:1: the last message must be the assistant's"),
    ],
)
def test_a_line_that_is_no_recording_is_told_by_its_number(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(UsageError, match=said):
        replay(tmp_path / "r.jsonl", [request("a", "q")])


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        replay(tmp_path / "none.jsonl", [request("a", "q")])


@needs_shared("persona")
@pytest.mark.parametrize("name", ["recorded_llama-3.1-8b.jsonl", "recorded_llama-3.1-8b-ft.jsonl"])
def test_published_recordings_answer_every_prompt_they_hold(name: str) -> None:
    path = SHARED / "persona" / name
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    seen: dict[str, int] = {}
    rows = []
    for line in lines:
        prompt = tuple(Message(role=m["role"], content=m["content"]) for m in line["messages"][:-1])
        key = repr(prompt)
        seen[key] = seen.get(key, 0) + 1
        base = digest(key)[:16]
        rows.append(Request(id=base if seen[key] == 1 else f"{base}-{seen[key]}", messages=prompt))
    answers = replay(path, rows)
    assert [c.text for c in answers] == [line["messages"][-1]["content"] for line in lines]


OPENAI_USAGE = {
    "prompt_tokens": 40,
    "completion_tokens": 10,
    "total_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "yes"}}],
    "usage": OPENAI_USAGE,
}
ASKED = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "q"}]}]
RESPONSE = {
    "object": "response",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "yes", "annotations": []}]},
    ],
    "incomplete_details": {"reason": "max_output_tokens"},
    "usage": {
        "input_tokens": 40,
        "output_tokens": 10,
        "total_tokens": 50,
        "input_tokens_details": {"cached_tokens": 16},
        "output_tokens_details": {"reasoning_tokens": 4},
    },
}


@pytest.mark.parametrize(
    "line",
    [
        {"id": "row", "text": "yes", "finish": "length", "usage": OPENAI_USAGE},
        {"custom_id": "row", "id": "batch_1", "response": {"status_code": 200, "body": COMPLETION}, "error": None},
        {"custom_id": "row/0", "id": "batch_1", "response": {"status_code": 200, "body": COMPLETION}, "error": None},
        {"custom_id": "row", "response": {"status_code": 200, "body": RESPONSE}},
        {**COMPLETION, "messages": ASKED},
        {"request": {"model": "m", "messages": ASKED}, "response": COMPLETION},
        {**RESPONSE, "input": ASKED},
        {
            "messages": [*ASKED, {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}],
            "usage": OPENAI_USAGE,
            "finish_reason": "length",
        },
    ],
)
def test_recordings_are_read_in_the_shapes_of_openai(tmp_path: Path, line: dict[str, Any]) -> None:
    asked = (Message(role="system", content="Be brief."), Message(role="user", content="q"))
    (tmp_path / "r.jsonl").write_text("\ufeff" + json.dumps(line) + "\n")
    (answer,) = replay(tmp_path / "r.jsonl", [Request(id="row", messages=asked)], price={"input": 1.0, "output": 10.0})
    assert (answer.error, answer.text, answer.finish) == (None, "yes", "length")
    used = answer.usage
    assert (used.prompt_tokens, used.completion_tokens, used.cached_tokens, used.reasoning_tokens) == (40, 10, 16, 4)
    assert answer.cost.list is not None and answer.cost.list > 0


@pytest.mark.parametrize("usage", [{"total_tokens": 7}, "unknown", {"prompt_tokens": "many"}, None])
def test_usage_of_another_shape_costs_no_answer(tmp_path: Path, usage: Any) -> None:
    path = write(
        tmp_path / "r.jsonl", {"id": "a", "text": "t", "usage": usage, "logprobs": [1], "finish_reason": "odd"}
    )
    (answer,) = replay(path, [request("a", "q")], price={"input": 1.0, "output": 2.0})
    assert (answer.text, answer.finish, answer.cost.list) == ("t", "stop", None)


def test_thoughts_and_refusals_of_a_recording_are_no_text_of_its_answer(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl",
        conversation("one", "<think>no, yes</think>\nyes"),
        {"messages": [{"role": "user", "content": "two"}, {"role": "assistant", "content": None, "refusal": "No."}]},
        conversation("three", ""),
    )
    one, two, three = replay(path, [request("a", "one"), request("b", "two"), request("c", "three")])
    assert (one.text, one.reasoning) == ("yes", "no, yes")
    assert (two.text, two.finish) == ("No.", "refusal")
    assert (three.text, three.error) == ("", None)


def test_a_line_of_a_batch_that_failed_records_no_answer(tmp_path: Path) -> None:
    failed = {"custom_id": "a", "response": {"status_code": 500, "body": {"error": {"message": "x"}}}, "error": None}
    path = write(tmp_path / "r.jsonl", failed, {"id": "b", "text": "t"})
    missing, there = replay(path, [request("a", "q"), request("b", "q")])
    assert missing.error is not None and missing.error.kind == "not recorded"
    assert there.text == "t"


def test_an_answer_that_names_no_row_is_told_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"r\.jsonl:1: nothing says which row this answers"):
        replay(write(tmp_path / "r.jsonl", {"choices": COMPLETION["choices"]}), [request("a", "q")])
