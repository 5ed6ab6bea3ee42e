"""Requests: what is hashed, and what a cut does to passages."""

import msgspec

from harness.prompting.chat_rendering import cut_passages
from harness.records import InputSpan, Message, Request


def request(**changes: object) -> Request:
    whole = Request(
        id="r",
        messages=(Message(role="user", content="Say: alpha and beta."),),
        passages=(InputSpan(message=0, start=5, end=10), InputSpan(message=0, start=15, end=19)),
        labels=("a", "b"),
    )
    return msgspec.structs.replace(whole, **changes)


CHANGES: dict[str, object] = {
    "tools": ({"type": "function", "function": {"name": "x"}},),
    "messages": (Message(role="user", content="Say: alpha and beta!"),),
    "passages": (),
    "labels": ("a",),
    "schema": {"type": "string"},
    "stop": ("x",),
    "max_tokens": 9,
    "temperature": 0.5,
    "seed": 1,
}


def test_every_field_but_id_and_repeat_is_hashed_and_in_the_cache_key() -> None:
    assert set(CHANGES) == set(Request.__struct_fields__) - {"id", "repeat", "tool_choice"}
    for name, value in CHANGES.items():
        changed = request(**{name: value})
        assert changed.hash() != request().hash(), name
        assert changed.cache_key() != request().cache_key(), name
    assert request(id="other", repeat=3).hash() == request().hash()
    tools = CHANGES["tools"]
    assert request(tools=tools, tool_choice="required").hash() != request(tools=tools).hash()
    assert request(tool_choice="required").hash() == request().hash(), "requests without tools keep their hash"


def test_the_cache_key_tells_repeats_apart() -> None:
    assert request(id="other").cache_key() == request().cache_key()
    assert request(repeat=1).cache_key() != request().cache_key()


def test_cutting_keeps_the_instruction_and_moves_the_marks() -> None:
    assert request().passage_texts() == ["alpha", "beta"]
    cut = cut_passages(request(), 2)
    assert cut.messages[0].content == "Say: al and be."
    assert cut.passage_texts() == ["al", "be"]
