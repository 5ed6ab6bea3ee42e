"""Parameters that a server refuses are learned from its words, once for all rows; what changes the question is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.backends.openai.request_body import family_of
from tests.openai.asking import ask, make, row, rows
from tests.support.scripted_server import Answer, Call, ScriptedServer, chat, error

Rule = Callable[[dict[str, Any]], Answer | None]


def refuses(*rules: Rule) -> Callable[[Call], Answer]:
    return lambda call: next((a for rule in rules if (a := rule(call.body)) is not None), Answer.json(chat("World")))


def openai_length(body: dict[str, Any]) -> Answer | None:
    if "max_tokens" not in body:
        return None
    return error(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        code="unsupported_parameter",
        param="max_tokens",
    )


def openai_temperature(body: dict[str, Any]) -> Answer | None:
    if body.get("temperature", 1) == 1:
        return None
    return error(
        "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported.",
        code="unsupported_value",
        param="temperature",
    )


def mistral_seed(body: dict[str, Any]) -> Answer | None:
    if "seed" not in body:
        return None
    detail = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 0}]
    return Answer.json({"object": "error", "message": {"detail": detail}, "type": "invalid_request_error"}, 422)


def fastapi_completion_tokens(body: dict[str, Any]) -> Answer | None:
    if "max_completion_tokens" not in body:
        return None
    return Answer.json(
        {"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "extra fields not permitted"}]}, 422
    )


def few_logprobs(body: dict[str, Any]) -> Answer | None:
    if body.get("top_logprobs", 0) <= 5:
        return None
    return error("Requested sample logprobs of 20, which is greater than max allowed: 5 (top_logprobs)")


def least_tokens(body: dict[str, Any]) -> Answer | None:
    if body["max_tokens"] >= 16:
        return None
    said = "Invalid 'max_tokens': integer below minimum value. Expected a value >= 16, but got 8 instead."
    return error(said, code="integer_below_min_value", param="max_tokens")


def effort(body: dict[str, Any]) -> Answer | None:
    if body.get("reasoning_effort") in (None, "medium", "high"):
        return None
    said = "Unsupported value: 'reasoning_effort' does not support 'none'. Supported values are: 'medium' and 'high'."
    return error(said, code="unsupported_value", param="reasoning_effort")


def no_stream(body: dict[str, Any]) -> Answer | None:
    return error("stream_options: unknown field") if "stream_options" in body else None


def no_stop(body: dict[str, Any]) -> Answer | None:
    return (
        error("Unsupported parameter: 'stop' is not supported with this model.", param="stop")
        if "stop" in body
        else None
    )


@pytest.mark.parametrize(
    ("rule", "settings", "expected", "absent"),
    [
        (openai_length, {}, {"max_completion_tokens": 8}, ["max_tokens"]),
        (openai_temperature, {}, {"max_tokens": 8}, ["temperature"]),
        (mistral_seed, {}, {}, ["seed"]),
        (fastapi_completion_tokens, {"model": "gpt-5"}, {"max_tokens": 8}, ["max_completion_tokens"]),
        (few_logprobs, {"logprobs": True}, {"top_logprobs": 5, "logprobs": True}, []),
        (least_tokens, {}, {"max_tokens": 16}, []),
        (effort, {"model": "gpt-5.1-chat-latest"}, {"reasoning_effort": "medium"}, []),
        (no_stream, {"probing": True}, {"stream": True}, ["stream_options"]),
        (no_stop, {}, {}, ["stop"]),
    ],
)
def test_a_refused_parameter_is_learned_once(
    tmp_path: Path, rule: Rule, settings: dict[str, Any], expected: dict[str, Any], absent: list[str]
) -> None:
    with ScriptedServer(refuses(rule)) as server:
        asked = ask(server.url, tmp_path, [row(f"r{n}", stop=("\n",)) for n in range(6)], concurrency=1, **settings)
        bodies = [call.body for call in server.calls]
    assert (asked.stop, asked.errors) == (None, {})
    assert len(bodies) == 7, "one refusal, then every row"
    assert {k: bodies[-1].get(k) for k in expected} == expected
    assert not set(absent) & set(bodies[-1])
    assert asked.completions[-1].notes["learned"]
    assert asked.by_id["r0"].attempts == 2


def test_several_parameters_are_learned_one_after_another_by_rows_in_flight(tmp_path: Path) -> None:
    with ScriptedServer(refuses(openai_length, openai_temperature, mistral_seed)) as server:
        asked = ask(server.url, tmp_path, rows(40), concurrency=8, max_attempts=1, model="my-gpt5-deployment")
    assert (asked.stop, asked.errors) == (None, {})
    assert len(asked.completions) == 40
    last = server.calls[-1].body
    assert last["max_completion_tokens"] == 8
    assert not {"max_tokens", "temperature", "seed"} & set(last)


@pytest.mark.parametrize("message", ["Unsupported parameter: 'response_format'", "Unknown field: chat_template_kwargs"])
def test_what_would_change_the_question_is_not_left_out(tmp_path: Path, message: str) -> None:
    with ScriptedServer(lambda call: error(message)) as server:
        asked = ask(server.url, tmp_path, rows(5), concurrency=1, decode="json", template={"enable_thinking": False})
        assert len(server.calls) == 2
    assert asked.stop is not None
    assert message in str(asked.stop)


def test_a_field_of_ones_own_is_not_left_out(tmp_path: Path) -> None:
    def answer(call: Call) -> Answer:
        return error("temperature is not supported") if "temperature" in call.body else Answer.json(chat("World"))

    with ScriptedServer(answer) as server:
        asked = ask(server.url, tmp_path, rows(5), concurrency=1, extra_body={"temperature": 0.7})
        assert len(server.calls) == 2
    assert asked.stop is not None


def test_names_behind_a_provider_are_as_the_model_and_chat_models_do_not_reason(tmp_path: Path) -> None:
    for name in ("openai/gpt-5-mini", "azure/gpt-5", "openrouter/openai/gpt-5-nano"):
        assert family_of(name) == family_of("gpt-5")
    chat_model = family_of("gpt-5-chat-latest")
    assert chat_model.reasoning_effort is None
    assert "temperature" not in chat_model.refuses(None)
    assert family_of("someone/o1-like").rename == {}
    assert family_of("openai/gpt-oss-120b").rename == {}


@pytest.mark.parametrize(
    ("url", "template", "fields"),
    [
        ("http://gpu:8000/v1", {"enable_thinking": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("https://api.deepseek.com/v1", {"enable_thinking": False}, {"thinking": {"type": "disabled"}}),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", {"enable_thinking": True}, {"enable_thinking": True}),
        ("https://openrouter.ai/api/v1", {"enable_thinking": False}, {"reasoning": {"enabled": False}}),
        ("http://localhost:11434/v1", {"enable_thinking": False}, {"reasoning_effort": "none"}),
        ("http://gpu:8000/v1", {}, {}),
    ],
)
def test_template_variables_are_sent_in_the_servers_word(
    tmp_path: Path, url: str, template: dict[str, Any], fields: dict[str, Any]
) -> None:
    backend = make(url, tmp_path, template=template)
    plain = make(url, tmp_path)
    sent = backend.builder.fields(row("r0"))
    assert {k: v for k, v in sent.items() if k not in plain.builder.fields(row("r0"))} == fields
    assert backend.identity().settings.get("template", {}) == template
