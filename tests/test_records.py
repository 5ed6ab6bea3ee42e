"""Requests: what is hashed, and what a cut does to passages."""

import msgspec

from harness.prompting.rendering import cut_passages
from harness.records import Message, Passage, Request


def request(**changes: object) -> Request:
    whole = Request(
        id="r",
        messages=(Message(role="user", content="Say: alpha and beta."),),
        passages=(Passage(message=0, start=5, end=10), Passage(message=0, start=15, end=19)),
        labels=("a", "b"),
    )
    return msgspec.structs.replace(whole, **changes)


def test_the_hash_covers_everything_but_id_and_repeat() -> None:
    assert request(id="other", repeat=3).hash() == request().hash()
    for change in ({"labels": ("a",)}, {"max_tokens": 9}, {"temperature": 0.5}, {"seed": 1}, {"stop": ("x",)}):
        assert request(**change).hash() != request().hash()


def test_the_cache_key_tells_repeats_apart() -> None:
    assert request(id="other").cache_key() == request().cache_key()
    assert request(repeat=1).cache_key() != request().cache_key()


def test_cutting_keeps_the_instruction_and_moves_the_marks() -> None:
    assert request().passage_texts() == ["alpha", "beta"]
    cut = cut_passages(request(), 2)
    assert cut.messages[0].content == "Say: al and be."
    assert cut.passage_texts() == ["al", "be"]
