"""What the test server says: answers, streams and errors in OpenAI's own shapes."""

import json
import zlib
from typing import Any

from tests.support.openai_server import ServerConfig


def count_tokens(text: str) -> int:
    """Bytes / 4, rounded up: the test server's tokeniser."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def prompt_tokens(messages: list[dict[str, Any]]) -> int:
    """Tokens of all contents, three a message for the format."""
    return sum(count_tokens(m["content"] or "") + 3 for m in messages)


def answer_text(config: ServerConfig, body: dict[str, Any]) -> str:
    """The answer: an instance of the asked schema, a configured answer, or the last message itself."""
    last = str(body["messages"][-1]["content"])
    pick = zlib.crc32(last.encode("utf-8", "replace"))
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    if schema is not None:
        return json.dumps(instance(schema, pick))
    return config.answers[pick % len(config.answers)] if config.answers else last


def instance(schema: dict[str, Any], pick: int) -> Any:
    """Some value that a JSON schema allows (enum, object, array, string, number, boolean)."""
    if "enum" in schema:
        return schema["enum"][pick % len(schema["enum"])]
    kind = schema.get("type")
    if kind == "object":
        return {name: instance(part, pick) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance(schema["items"], pick + k) for k in range(2)]
    return {"string": f"text {pick % 100}", "integer": pick % 10, "number": 0.5, "boolean": True}.get(str(kind))


def usage(config: ServerConfig, body: dict[str, Any], text: str) -> dict[str, Any]:
    """`usage` as OpenAI sends it."""
    prompt = prompt_tokens(body["messages"])
    completion = count_tokens(text)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": int(prompt * config.cached_share), "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def completion(config: ServerConfig, body: dict[str, Any], kind: str) -> dict[str, Any]:
    """A chat completion; `kind` bends it (see FAULTS)."""
    text: str | None = answer_text(config, body)
    finish, refusal = "stop", None
    if kind == "refusal":
        text, refusal = None, "I cannot help with that."
    elif kind == "content_filter":
        text, finish = "", "content_filter"
    elif kind == "length":
        text, finish = str(text)[:1], "length"
    elif kind == "null_content":
        text = None
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": refusal},
        "finish_reason": finish,
        "logprobs": None,
    }
    if body.get("logprobs") and config.logprobs and text:
        choice["logprobs"] = {"content": [token_logprobs(config, text)], "refusal": None}
    answer = {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "system_fingerprint": "fp_test",
        "service_tier": "default",
        "choices": [] if kind == "empty_choices" else [choice],
    }
    if kind != "no_usage":
        answer["usage"] = usage(config, body, text or "")
    if kind == "null_counts":
        answer["usage"] = dict.fromkeys(answer["usage"])
        choice["logprobs"] = {"content": [{"token": text, "logprob": -0.2, "top_logprobs": None}]}
    return answer


def token_logprobs(config: ServerConfig, text: str) -> dict[str, Any]:
    """One token for the whole answer (-0.2), the other configured answers beside it (-2)."""
    top = [{"token": a, "logprob": -0.2 if a == text else -2.0, "bytes": None} for a in config.answers]
    return {"token": text, "logprob": -0.2, "bytes": None, "top_logprobs": top}


def stream_events(config: ServerConfig, body: dict[str, Any], kind: str) -> list[bytes]:
    """The same answer as server-sent events, in pieces of four characters, usage last where asked."""
    whole = completion(config, body, kind)
    head = {k: whole[k] for k in ("id", "created", "model", "system_fingerprint")} | {"object": "chat.completion.chunk"}
    events: list[dict[str, Any]] = []
    for choice in whole["choices"]:
        text, refusal = choice["message"]["content"] or "", choice["message"]["refusal"]
        pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        pieces += [{"content": text[i : i + 4]} for i in range(0, len(text), 4)]
        pieces += [{"refusal": refusal}] if refusal else []
        events += [{**head, "choices": [{"index": 0, "delta": p, "finish_reason": None}]} for p in pieces]
        last = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
        events.append({**head, "choices": [last]})
    if (body.get("stream_options") or {}).get("include_usage") and "usage" in whole:
        events.append({**head, "choices": [], "usage": whole["usage"]})
    lines = [b"data: " + json.dumps(e).encode() + b"\n\n" for e in events] + [b"data: [DONE]\n\n"]
    odd = {"event_error": b'data: {"error": {"message": "The engine died."}}\n\n', "event_garbage": b"data: {\n\n"}
    return [*lines[:1], odd[kind], *lines[1:]] if kind in odd else lines


ERRORS: dict[str, tuple[int, str, str | None, str]] = {
    "400": (400, "invalid_request_error", None, "Invalid value for 'messages'."),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-****."),
    "403": (403, "invalid_request_error", "unsupported_country_region_territory", "Country not supported."),
    "404": (404, "invalid_request_error", "model_not_found", "The model does not exist or you do not have access."),
    "408": (408, "server_error", None, "Request timed out."),
    "409": (409, "server_error", None, "Conflict."),
    "429": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    "overload": (429, "server_error", "engine_overloaded", "The engine is currently overloaded."),
    "insufficient_quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "500": (500, "server_error", None, "The server had an error while processing your request."),
    "502": (502, "server_error", None, "Bad gateway."),
    "503": (503, "server_error", None, "The engine is currently overloaded, please try again later."),
    "context_length": (400, "invalid_request_error", "context_length_exceeded", "Maximum context length exceeded."),
    "unsupported_value": (400, "invalid_request_error", "unsupported_value", "Unsupported value: 'temperature'."),
    "invalid_prompt": (400, "invalid_request_error", "invalid_prompt", "Your prompt was flagged; try another one."),
    "content_filter_400": (400, "invalid_request_error", "content_filter", "The prompt triggered a content policy."),
}


def error_body(kind: str) -> tuple[int, bytes]:
    """Status and body of an error word."""
    status, family, code, message = ERRORS[kind]
    error = {"message": message, "type": family, "param": None, "code": code}
    return status, json.dumps({"error": error}).encode()
