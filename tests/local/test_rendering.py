"""Prompts: one beginning-of-sequence token, a pinned date, and only passages are ever cut."""

import pytest
from jinja2 import Environment

from harness.prompting.chat_rendering import PINNED_DATE, Renderer, cut_passages
from harness.records import InputSpan, Message, Request
from tests.support.tiny_llama import END_OF_TURN, news_requests, tokenizer


def test_bos_stands_exactly_once_whoever_adds_it() -> None:
    for made in (tokenizer(bos=True), tokenizer(chat=True), tokenizer(bos=True, chat=True)):
        (prompt,) = Renderer(made).prompts(news_requests(1), 1000)
        assert prompt.ids[0] == made.bos_token_id
        assert prompt.ids.count(made.bos_token_id) == 1
    made = tokenizer()
    (prompt,) = Renderer(made).prompts(news_requests(1), 1000)
    assert made.bos_token_id is None
    assert made.decode(prompt.ids) == prompt.text


def test_a_template_that_prints_the_date_gets_the_pinned_one() -> None:
    made = tokenizer(chat=True)
    made.chat_template = "Today is {{ date_string }}. {{ messages[0]['content'] }}"
    assert Renderer(made).text(news_requests(1)[0].messages).startswith(f"Today is {PINNED_DATE}.")


def test_a_chat_template_is_compiled_once_and_not_for_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = Renderer(tokenizer(chat=True))
    requests = news_requests(20)
    first = renderer.text(requests[0].messages)
    monkeypatch.setattr(Environment, "compile", None)
    assert len({renderer.text(r.messages) for r in requests}) == 20
    assert renderer.text(requests[0].messages) == first


def test_an_answer_ends_with_the_templates_own_token() -> None:
    chat, plain = tokenizer(chat=True), tokenizer()
    assert Renderer(chat).end_id == chat.convert_tokens_to_ids(END_OF_TURN)
    assert Renderer(plain).end_id == plain.eos_token_id


def test_several_passages_are_cut_and_nothing_else() -> None:
    content = "Same? A: aaaaaaaa B: bbb. Answer:"
    request = Request(
        id="x",
        messages=(Message(role="user", content=content),),
        passages=(InputSpan(message=0, start=9, end=17), InputSpan(message=0, start=21, end=24)),
    )
    cut = cut_passages(request, 2)
    assert cut.messages[0].content == "Same? A: aa B: bb. Answer:"
    assert cut.passage_texts() == ["aa", "bb"]
    assert cut_passages(request, 100).messages == request.messages


def test_rooms_may_differ_from_row_to_row() -> None:
    renderer = Renderer(tokenizer())
    longest = max(news_requests(9), key=lambda r: len(r.messages[0].content))
    whole, cut = renderer.prompts([longest, longest], [1000, 90])
    assert not whole.truncated
    assert cut.truncated
    assert len(cut.ids) <= 90


def test_a_head_reads_the_passages_alone_with_bos_where_the_tokenizer_adds_one() -> None:
    made = tokenizer(bos=True, chat=True)
    (request,) = news_requests(1)
    (prompt,) = Renderer(made).passage_prompts([request], 1000)
    assert prompt.text == request.passage_texts()[0]
    assert prompt.ids == made(request.passage_texts()[0])["input_ids"]
