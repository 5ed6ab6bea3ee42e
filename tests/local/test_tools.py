"""Tools in a local model's prompt, and the call that it is trained on, in its chat template's own format."""

import json
from typing import Any

import pytest

from harness.prompting.chat_rendering import CALL, Renderer
from harness.records import Message, Request
from harness.scoring.tool_calls import read_calls
from tests.support.tiny_llama import tokenizer

TURNS = "{% for m in messages %}[{{ m.role }}] {{ m.content }}"
HERMES = (
    "{% if tools %}[system] {% for tool in tools %}{{ tool | tojson }}{% endfor %}<|turn|>{% endif %}"
    + TURNS
    + "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}<|turn|>"
    + "{% endfor %}"
    + "{% if add_generation_prompt %}[assistant] {% endif %}"
)
MISTRAL = (
    "{% if tools %}[TOOLS] {{ tools | tojson }}<|turn|>{% endif %}"
    + TURNS
    + "{% if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}]{% endif %}"
    + "<|turn|>{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)
WITHOUT = TURNS + "<|turn|>{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
ONLY_LISTS = "{% if tools %}{% for t in tools %}{{ t.function.name }}<|turn|>{% endfor %}{% endif %}" + WITHOUT

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "book", "description": "", "parameters": {"type": "object", "properties": {}}},
}
TARGET = json.dumps({"name": "book", "arguments": {"place": "Nord"}})
USER = Message(role="user", content="A table")
ASKED = Request(id="x", messages=(USER,), tools=(TOOL,))


def renderer(template: str | None) -> Renderer:
    made = tokenizer(chat=template is not None)
    if template is not None:
        made.chat_template = template
    return Renderer(made)


@pytest.mark.parametrize(("template", "mark"), [(HERMES, "<tool_call>"), (MISTRAL, "[TOOL_CALLS]")])
def test_a_template_that_knows_tools_prints_them_and_its_own_calls_are_trained(template: str, mark: str) -> None:
    made = renderer(template)
    text = made.prompts([ASKED], 10_000)[0].text
    assert '"name": "book"' in text and text.endswith("[assistant] ") and CALL not in text
    assert made.remarks == []
    written = made.answer_of(ASKED, TARGET)
    assert written.startswith(mark) and "<|turn|>" not in written
    calls, alone = read_calls(written)
    assert alone and [call.text() for call in calls] == [TARGET]


@pytest.mark.parametrize("template", [WITHOUT, None])
def test_without_a_format_of_its_own_the_tools_stand_in_a_system_message(template: str | None) -> None:
    made = renderer(template)
    text = made.text(ASKED.messages, ASKED.tools)
    assert CALL in text and '"name": "book"' in text
    system = Message(role="system", content="Be brief.")
    both = made.text((system, USER), ASKED.tools)
    assert both.index(CALL) < both.index("Be brief.") < both.index("A table")
    assert made.answer_of(ASKED, TARGET) == TARGET


def test_a_template_that_lists_tools_and_prints_no_calls_is_trained_on_json() -> None:
    assert renderer(ONLY_LISTS).answer_of(ASKED, TARGET) == TARGET


@pytest.mark.parametrize("target", ["no call", "[]", f"[{TARGET}, {TARGET}]"])
def test_a_target_that_is_no_single_call_stays_as_it_is(target: str) -> None:
    assert renderer(HERMES).answer_of(ASKED, target) == target


def test_prompts_without_tools_are_as_before() -> None:
    made = renderer(HERMES)
    assert made.text((USER,)) == "[user] A table<|turn|>[assistant] "
    assert made.answer_of(Request(id="x", messages=(USER,)), TARGET) == TARGET
