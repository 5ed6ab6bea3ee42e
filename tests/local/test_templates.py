"""The model sees the row: whatever a chat template or tokenizer does, or a sentence before anything is asked."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from harness.errors import BackendStopped, UsageError
from harness.prompting.chat_rendering import PINNED_DATE, Renderer
from harness.records import Message, Request
from harness.workspace import Workspace
from tests.local.asking import ask
from tests.support.tiny_llama import BOS, EOS, make_base, news_requests, tokenizer

TURNS = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|turn|>{% endfor %}"
PARTS = "{% for m in messages %}[{{ m.role }}]{% for p in m.content %}{{ p.text }}{% endfor %}<|turn|>{% endfor %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('No system turn, please') }}{% endif %}"
DROPPED = "{% for m in messages if m.role != 'system' %}[{{ m.role }}] {{ m.content | trim }}<|turn|>{% endfor %}"
SYSTEM = Message(role="system", content="Answer in one word.")
USER = Message(role="user", content="Which colour has the sky?")


def renderer(template: Any, **variables: Any) -> Renderer:
    """Of a tiny tokenizer with this chat template."""
    made = tokenizer(chat=True)
    made.chat_template = template
    return Renderer(made, variables)


def test_a_template_that_goes_through_parts_is_given_parts() -> None:
    assert (
        renderer(PARTS).text((SYSTEM, USER))
        == "[system]Answer in one word.<|turn|>[user]Which colour has the sky?<|turn|>"
    )


@pytest.mark.parametrize(
    ("template", "said"),
    [(NO_SYSTEM + TURNS, "'No system turn, please'"), (DROPPED, "prints no system message")],
)
def test_a_system_message_that_a_template_refuses_or_drops_moves_to_the_users(template: str, said: str) -> None:
    made = renderer(template)
    assert made.text((SYSTEM, USER)) == "[user] Answer in one word.\n\nWhich colour has the sky?<|turn|>"
    (remark,) = made.remarks
    assert said in remark and "prepended to the user's message" in remark
    assert made.text((USER,)) == "[user] Which colour has the sky?<|turn|>"
    assert len(made.remarks) == 1


def test_parts_and_a_refused_system_message_go_together() -> None:
    assert renderer(NO_SYSTEM + PARTS).text((SYSTEM, USER)).startswith("[user]Answer in one word.\n\nWhich colour")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('Only tools may call') }}", "refuses messages of user: 'Only tools may call'"),
        ("{{ messages[0].content.no_such() }}", "refuses messages of user"),
        ("{% for m in messages %}", "refuses messages of user"),
        ("[user] hello", "prints no text of a user message"),
        ("{{ messages[0].content | upper }}", "prints no text of a user message"),
    ],
)
def test_a_template_that_raises_or_hides_the_text_is_refused_in_its_own_words(template: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        renderer(template).text((USER,))


def test_a_single_text_that_a_template_changes_is_named() -> None:
    made = renderer("{{ messages[0].content.replace('colour', 'color') }}")
    assert made.text((Message(role="user", content="What has the sky?"),))
    with pytest.raises(
        UsageError, match=r"does not print this text of a user message .*: 'Which colour has the sky\?'"
    ):
        made.text((USER,))


@pytest.mark.parametrize("call", ["date_string", "strftime_now('%d %b %Y')", "strftime_now('%-d %h ') ~ '2024'"])
def test_the_date_is_pinned_however_a_template_asks_for_it(call: str) -> None:
    assert renderer("{{ " + call + " }} " + TURNS).text((USER,)).startswith(f"{PINNED_DATE} [user]")


def test_of_several_templates_the_default_or_the_named_one_is_taken() -> None:
    assert renderer({"default": TURNS, "tool_use": "none"}).text((USER,)).startswith("[user]")
    several = {"chat": TURNS, "rag": PARTS}
    assert renderer(several, chat_template="chat").text((USER,)).startswith("[user] Which")
    with pytest.raises(UsageError, match=r"several chat templates \(chat, rag\) and none of them is the default"):
        renderer(several).text((USER,))
    with pytest.raises(UsageError, match="none is called 'char'"):
        renderer(several, chat_template="char").text((USER,))
    with pytest.raises(UsageError, match="one chat template, and none called 'rag'"):
        renderer(TURNS, chat_template="rag").text((USER,))


def test_variables_reach_the_template_and_its_hash() -> None:
    thinking = TURNS + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    quiet = renderer(thinking, enable_thinking=False)
    assert quiet.text((USER,)).endswith("<think></think>")
    assert not renderer(thinking).text((USER,)).endswith("</think>")
    assert quiet.template_hash != renderer(thinking).template_hash
    with pytest.raises(UsageError, match="'tokenize' is no variable"):
        renderer(thinking, tokenize=True).text((USER,))
    with pytest.raises(UsageError, match="no chat template"):
        Renderer(tokenizer(), {"enable_thinking": False}).text((USER,))


def test_two_backends_ask_one_base_with_different_variables(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", chat=True)
    (base / "chat_template.jinja").write_text(TURNS + "{{ mood | default('') }}")
    asked = news_requests(2)
    plain = ask(Workspace(tmp_path), asked, model=str(base))
    loud = ask(Workspace(tmp_path), asked, model=str(base), template={"mood": " loudly"})
    assert all(plain[r.id].prompt_hash != loud[r.id].prompt_hash for r in asked)


def test_an_end_token_that_a_tokenizer_adds_stays_out_of_the_prompt() -> None:
    made = tokenizer(bos=True)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, made.bos_token_id), (EOS, made.eos_token_id)]
    )
    assert made("a")["input_ids"][-1] == made.eos_token_id
    (prompt,) = Renderer(made).prompts(news_requests(1), 1000)
    assert prompt.ids[0] == made.bos_token_id
    assert made.eos_token_id not in prompt.ids
    (head,) = Renderer(made).passage_prompts(news_requests(1), 1000)
    assert made.eos_token_id not in head.ids


def test_a_blank_that_a_tokenizer_adds_stays_out_of_the_answer() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = ["<unk>", "</s>", "\u2581Topic", ":", "\u2581World", "World", "\u2581", "\u2581\u2581World", "a", "\u2581a"]
    spm = Tokenizer(models.Unigram([(w, -float(n)) for n, w in enumerate(words)], unk_id=0))
    spm.pre_tokenizer = pre_tokenizers.Metaspace()
    spm.decoder = decoders.Metaspace()
    made = PreTrainedTokenizerFast(tokenizer_object=spm, eos_token="</s>", unk_token="<unk>")
    whole = made("Topic: World", add_special_tokens=False)["input_ids"]
    assert Renderer(made).encode_answer("World") == whole[2:] == [words.index("\u2581World")]


def test_an_answer_follows_its_prompt_as_the_template_writes_it() -> None:
    spaced = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|turn|>{% endfor %}"
    llama_2 = spaced.replace("[{{ m.role }}] ", "{{ ' ' if m.role == 'assistant' else '' }}")
    made = renderer(llama_2)
    assert made.encode_answer("World") == made.tokenizer(" World", add_special_tokens=False)["input_ids"]
    assert renderer(spaced).encode_answer("World") == made.tokenizer("World", add_special_tokens=False)["input_ids"]


def test_a_template_that_refuses_the_task_is_told_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(tmp_path / "base", chat=True)
    (base / "chat_template.jinja").write_text("{{ raise_exception('No questions today') }}")
    monkeypatch.setattr("harness.backends.local.weight_loading.load", lambda *_: pytest.fail("weights were loaded"))
    with pytest.raises(UsageError, match=r"base model .* 'No questions today'"):
        ask(Workspace(tmp_path), news_requests(2), model=str(base))


def test_a_later_row_that_a_template_changes_stops_this_backend_alone(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", chat=True)
    (base / "chat_template.jinja").write_text("{{ messages[0].content.replace('colour', 'color') }}")
    texts = ("What is the sky?", "What colour is it?")
    asked = [Request(id=text, messages=(Message(role="user", content=text),)) for text in texts]
    with pytest.raises(BackendStopped, match="does not print this text"):
        ask(Workspace(tmp_path), asked, model=str(base))


def test_thoughts_of_a_local_model_are_no_part_of_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_base(tmp_path / "base", chat=True)
    texts = iter(["<think>hm, perhaps</think>World", "<think>and on and on", "Sports"])

    def said(self: Renderer, ids: Any, *, special: bool = False) -> str:
        if special:
            said.now = next(texts)  # type: ignore[attr-defined]
        return said.now  # type: ignore[attr-defined,no-any-return]

    said.now = ""  # type: ignore[attr-defined]
    monkeypatch.setattr(Renderer, "decode", said)
    answers = ask(Workspace(tmp_path), news_requests(3), model=str(base)).values()
    found = {(a.text, a.reasoning) for a in answers}
    assert found >= {("World", "hm, perhaps"), ("", "and on and on")}
    assert all((a.usage.reasoning_tokens > 0) is bool(a.reasoning) for a in answers)
