"""A message put together from instruction and a row's own texts."""

from hypothesis import given
from hypothesis import strategies as st

from harness.records import Request, user_message


@given(st.text(), st.lists(st.tuples(st.text(), st.text())))
def test_every_own_text_is_a_passage_and_nothing_else_is(head: str, own: list[tuple[str, str]]) -> None:
    messages, passages = user_message(head, *own)
    assert messages[0].content == head + "".join(text + after for text, after in own)
    assert Request(id="x", messages=messages, passages=passages).passage_texts() == [text for text, _ in own]
