"""OpenTelemetry: spans of models in OTLP's JSON, or one span a line.

Read are the attributes of its conventions for generative AI (`gen_ai.input.messages` and, before 2025, events such as
`gen_ai.user.message`), and those of OpenLLMetry (`gen_ai.prompt.0.content`) and OpenInference
(`llm.input_messages.0.message.content`).
"""

import re
from collections.abc import Iterator
from typing import Any

from harness.data.traces.call import (
    Found,
    LeftOut,
    LoggedCall,
    Turn,
    answer_of,
    decoded,
    first,
    number_of,
    seconds_of,
    table,
    turn_of,
    turns_of,
)
from harness.records import Usage

INDEXED = (
    (re.compile(r"gen_ai\.prompt\.(\d+)\.(\w+)"), re.compile(r"gen_ai\.completion\.(\d+)\.(\w+)")),
    (
        re.compile(r"llm\.input_messages\.(\d+)\.message\.(\w+)"),
        re.compile(r"llm\.output_messages\.(\d+)\.message\.(\w+)"),
    ),
)
"""Attributes that hold one field of one message: of what was asked, and of the answer."""

EVENTS = {"gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant"}


def read_record(record: dict[str, Any]) -> Iterator[Found]:
    """The spans of models in a batch of OTLP, or the one span that the record is."""
    spans = list(_spans(record))
    found = [_call(span) for span in spans]
    calls = [one for one in found if not (isinstance(one, LeftOut) and one.reason == NO_MODEL)]
    yield from calls or [LeftOut(NO_MODEL if spans else "holds no spans")]


NO_MODEL = "a span that is no call of a model"


def _spans(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "resourceSpans" not in record and "resource_spans" not in record:
        if "attributes" in record or "spanId" in record or "span_id" in record:
            yield record
        return
    for resource in _list(first(record, "resourceSpans", "resource_spans")):
        for scope in _list(first(resource, "scopeSpans", "scope_spans", "instrumentationLibrarySpans")):
            yield from _list(scope.get("spans"))


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _attributes(given: Any) -> dict[str, Any]:
    """Attributes as a mapping: OTLP writes a list of {"key", "value": {"stringValue": ..}}."""
    if isinstance(given, dict):
        return given
    return {str(one["key"]): _value(one.get("value")) for one in _list(given) if "key" in one}


def _value(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    for key in ("stringValue", "intValue", "doubleValue", "boolValue"):
        if key in given:
            return given[key]
    if "arrayValue" in given:
        values = table(given["arrayValue"]).get("values")
        return [_value(one) for one in values] if isinstance(values, list) else []
    if "kvlistValue" in given:
        return _attributes(table(given["kvlistValue"]).get("values"))
    return None


def _call(span: dict[str, Any]) -> Found:
    attributes = _attributes(span.get("attributes"))
    if not any(key.startswith(("gen_ai.", "llm.", "openinference.")) for key in attributes):
        return LeftOut(NO_MODEL)
    asked, answer = _conversation(span, attributes)
    if not asked:
        embeds = str(attributes.get("gen_ai.operation.name")) in ("embeddings", "execute_tool", "invoke_agent")
        return LeftOut(NO_MODEL if embeds else "holds no messages (the tracer did not record contents)")
    if answer is None:
        return LeftOut(
            "a request that failed"
            if table(span.get("status")).get("code") in (2, "ERROR", "STATUS_CODE_ERROR")
            else "holds no answer"
        )
    begun = seconds_of(_number(first(span, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")))
    ended = seconds_of(_number(first(span, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")))
    reasons = decoded(attributes.get("gen_ai.response.finish_reasons"))
    session = first(attributes, "gen_ai.conversation.id", "session.id", "user.id") or first(span, "traceId", "trace_id")
    return LoggedCall(
        turns=(*asked, answer),
        time=begun,
        session=str(session) if session else None,
        model=str(first(attributes, "gen_ai.response.model", "gen_ai.request.model", "llm.model_name") or ""),
        usage=_usage(attributes),
        service_s=ended - begun if begun is not None and ended is not None and ended >= begun else None,
        cost=number_of(first(attributes, "gen_ai.usage.cost", "llm.cost.total")),
        finish=str(reasons[0]) if isinstance(reasons, list) and reasons else "",
    )


def _number(value: Any) -> Any:
    """OTLP writes 64-bit numbers as text."""
    return float(value) if isinstance(value, str) and value.isdigit() else value


def _usage(attributes: dict[str, Any]) -> Usage | None:
    def count(*names: str) -> int:
        found = number_of(first(attributes, *names))
        return int(found) if found is not None and found > 0 else 0

    prompt = count("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
    completion = count("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
    cached = count(
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    )
    if not prompt and not completion:
        return None
    return Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)


def _conversation(span: dict[str, Any], attributes: dict[str, Any]) -> tuple[tuple[Turn, ...], Turn | None]:
    given = decoded(attributes.get("gen_ai.input.messages"))
    if given is not None:
        system = turns_of(_parts([{"role": "system", "parts": decoded(attributes.get("gen_ai.system_instructions"))}]))
        asked = turns_of(_parts(given)) or ()
        answers = turns_of(_parts(decoded(attributes.get("gen_ai.output.messages")))) or ()
        head = system if system and system[0]["content"] else ()
        return (*head, *asked), answers[-1] if answers else None
    for prompts, completions in INDEXED:
        asked, answers = _indexed(attributes, prompts), _indexed(attributes, completions)
        if asked:
            return asked, answer_of(answers[-1]) if answers else None
    return _of_events(span)


def _parts(messages: Any) -> Any:
    """Messages of parts ({"type": "text", "content"}) with their text as content, and calls of tools as OpenAI's."""
    if not isinstance(messages, list):
        return messages
    plain = []
    for message in messages:
        parts = _list(table(message).get("parts"))
        texts = [part.get("content") for part in parts if part.get("type") in (None, "text")]
        calls = [
            {"function": {"name": part.get("name"), "arguments": part.get("arguments")}}
            for part in parts
            if part.get("type") == "tool_call"
        ]
        found = (
            {**table(message), "content": "".join(t for t in texts if isinstance(t, str))} if parts else table(message)
        )
        plain.append({**found, "tool_calls": calls} if calls else found)
    return plain


def _indexed(attributes: dict[str, Any], pattern: re.Pattern[str]) -> tuple[Turn, ...]:
    fields: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        match = pattern.fullmatch(key)
        if match is not None:
            fields.setdefault(int(match[1]), {})[match[2]] = decoded(value)
    turns = [turn_of({"role": "assistant", **fields[number]}) for number in sorted(fields)]
    return tuple(turn for turn in turns if turn is not None)


def _of_events(span: dict[str, Any]) -> tuple[tuple[Turn, ...], Turn | None]:
    asked: list[Turn] = []
    answer = None
    for event in _list(span.get("events")):
        name, attributes = str(event.get("name")), _attributes(event.get("attributes"))
        body = {**attributes, **table(event.get("body"))}
        if name in EVENTS:
            turn = turn_of({"role": EVENTS[name], "content": decoded(first(body, "content", "gen_ai.event.content"))})
            asked += [turn] if turn is not None else []
        elif name == "gen_ai.choice":
            answer = answer_of(decoded(first(body, "message", "content", "gen_ai.event.content")))
    return tuple(asked), answer
