"""OpenAI's forms: chat JSONL (also of fine-tuning), requests beside their answers, batches, stored completions."""

from collections.abc import Iterator
from typing import Any

from harness.data.traces.call import (
    Found,
    LeftOut,
    LoggedCall,
    Turn,
    answer_of,
    first,
    number_of,
    read_usage,
    seconds_of,
    table,
    turns_of,
)

PROMPTS = ("messages", "input_messages", "input", "prompt")


def read_record(record: dict[str, Any]) -> Iterator[Found]:
    """A conversation that ends in its answer, or a request and its completion (or response), however nested."""
    body = _completion(record)
    asked = _asked(record)
    answer = _answer(body) if body is not None else None
    if asked is None:
        stored = body is not None and answer is not None
        why = "holds an answer without what was asked" if stored else "holds no messages"
        yield LeftOut(why, "export the completions with their messages" if stored else "")
        return
    if answer is None:
        if _failed(record):
            yield LeftOut("a request that failed")
            return
        if asked[-1]["role"] != "assistant":
            yield LeftOut("holds no answer")
            return
        asked, answer = asked[:-1], asked[-1]
    if not asked:
        yield LeftOut("holds an answer without what was asked")
        return
    inner = body if body is not None else record
    meta = {**table(record.get("metadata")), **table(inner.get("metadata"))}
    choices = inner.get("choices")
    choice = table(choices[0]) if isinstance(choices, list) and choices else {}
    latency = number_of(first(record, "latency_s", "duration_s", "latency"))
    milliseconds = number_of(first(record, "latency_ms", "duration_ms"))
    yield LoggedCall(
        turns=(*asked, answer),
        time=seconds_of(
            first(record, "created", "created_at", "timestamp", "time")
            or inner.get("created")
            or inner.get("created_at")
        ),
        session=_word(
            first(record, "session_id", "conversation_id", "session", "user")
            or first(meta, "session_id", "session", "conversation_id", "user_id")
        ),
        model=str(first(inner, "model") or first(record, "model") or ""),
        usage=read_usage(inner.get("usage")) or read_usage(record.get("usage")),
        service_s=latency if latency is not None else None if milliseconds is None else milliseconds / 1000,
        first_token_s=number_of(record.get("first_token_s")),
        cost=number_of(first(record, "cost_usd", "cost")),
        finish=str(choice.get("finish_reason") or record.get("finish_reason") or ""),
        tools=_tools(record),
    )


def _completion(record: dict[str, Any]) -> dict[str, Any] | None:
    """The object that holds the answer: the record, its response, or that one's body."""
    places = [record.get("response"), table(record.get("response")).get("body"), record.get("completion"), record]
    return next(
        (
            p
            for p in places
            if isinstance(p, dict) and (isinstance(p.get("choices"), list) or isinstance(p.get("output"), list))
        ),
        None,
    )


def _asked(record: dict[str, Any]) -> tuple[Turn, ...] | None:
    request = table(record.get("request")) or table(record.get("body"))
    for place in (record, request, table(request.get("body"))):
        system = place.get("instructions")
        for key in PROMPTS:
            found = turns_of(place.get(key))
            if found:
                return ({"role": "system", "content": system}, *found) if isinstance(system, str) and system else found
    return turns_of(record.get("conversations"))


def _answer(body: dict[str, Any]) -> Turn | None:
    choices, output = body.get("choices"), body.get("output")
    if isinstance(choices, list) and choices:
        return answer_of(table(choices[0]).get("message") or table(choices[0]).get("text"))
    texts = [one for one in output if table(one).get("type") == "message"] if isinstance(output, list) else []
    return answer_of({"role": "assistant", "content": table(texts[-1]).get("content")}) if texts else None


def _failed(record: dict[str, Any]) -> bool:
    code = table(record.get("response")).get("status_code")
    return bool(record.get("error")) or (isinstance(code, int) and code >= 400)


def _tools(record: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    for place in (
        record,
        table(record.get("request")),
        table(table(record.get("request")).get("body")),
        table(record.get("body")),
    ):
        if isinstance(place.get("tools"), list):
            return tuple(tool for tool in place["tools"] if isinstance(tool, dict))
    return ()


def _word(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
