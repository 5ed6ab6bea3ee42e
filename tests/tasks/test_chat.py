"""The task `chat`: OpenAI's fine-tuning JSONL as it is, with weights, several answers and calls of tools."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.records import Completion, Sample
from harness.task_loading import build_request, read_rows
from harness.tasks.chat import Chat


def rows_of(tmp_path: Path, lines: list[dict[str, Any]], split: str = "train") -> tuple[list[Sample], list[str]]:
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_rows(Chat(), DataSource(location=str(path), split=split))


def turns(*given: tuple[str, Any], **last: Any) -> dict[str, Any]:
    messages = [{"role": role, "content": content} for role, content in given]
    messages[-1] |= last
    return {"messages": messages}


TALK = turns(
    ("system", "Be brief."), ("user", "Tide?"), ("assistant", "Low."), ("user", "Wind?"), ("assistant", "East.")
)


def test_every_answer_is_taught_and_the_last_one_is_tested(tmp_path: Path) -> None:
    train, _ = rows_of(tmp_path, [TALK])
    assert [row.reference for row in train] == ["Low.", "East."]
    assert len({row.group for row in train}) == 1, "the answers of one conversation stay together"
    asked = build_request(Chat(), train[1])
    assert [(m.role, m.content) for m in asked.messages] == [
        ("system", "Be brief."),
        ("user", "Tide?"),
        ("assistant", "Low."),
        ("user", "Wind?"),
    ]
    assert asked.passage_texts() == ["Tide?", "Low.", "Wind?"]
    test, _ = rows_of(tmp_path, [TALK], "test")
    assert [row.reference for row in test] == ["East."]
    assert Chat().score(test[0], Completion(id=test[0].id, text="East.", finish="stop")).correct


def test_answers_of_weight_0_are_not_taught(tmp_path: Path) -> None:
    talk = json.loads(json.dumps(TALK))
    talk["messages"][2]["weight"] = 0
    talk["messages"][4]["weight"] = 1
    train, remarks = rows_of(tmp_path, [talk])
    assert [row.reference for row in train] == ["East."]
    assert "left out 1 answers of weight 0" in remarks[0]


def test_a_call_of_a_tool_is_an_answer_and_what_follows_its_result_is_left_out(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": '{"port": "Oban"}'}}
    talk = turns(("user", "Tide at Oban?"), ("assistant", None), tool_calls=[call])
    talk["messages"] += [
        {"role": "tool", "tool_call_id": "c1", "content": "low"},
        {"role": "assistant", "content": "It is low."},
    ]
    talk["tools"] = [{"type": "function", "function": {"name": "tide", "parameters": {}}}]
    train, remarks = rows_of(tmp_path, [talk])
    assert [json.loads(row.reference) for row in train] == [{"name": "tide", "arguments": {"port": "Oban"}}]
    asked = build_request(Chat(), train[0])
    assert asked.tools == tuple(talk["tools"]) and [m.content for m in asked.messages] == ["Tide at Oban?"]
    assert "1 answers behind a call of a tool" in remarks[0]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"prompt": "a"}, "no conversation: a line holds"),
        ({"messages": []}, "'messages' is no list of messages"),
        (turns(("wizard", "x")), "message 1 is none of system, user"),
        (turns(("user", "x")), "holds no answer of an assistant"),
    ],
)
def test_a_line_that_is_no_conversation_is_named(line: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"chat.jsonl:1: .*{sentence}"):
        rows_of(tmp_path, [line])
