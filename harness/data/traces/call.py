"""Tokens of a request as servers count them, under the names that they give them."""

import datetime
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from harness.records import Usage


def read_usage(text_parts: Any) -> Usage | None:
    """Tokens as a server counted them, under OpenAI's names (of both its interfaces), Anthropic's, or Bench's own."""
    if not isinstance(text_parts, dict):
        return None

    def count(*names: str, of: Any = text_parts) -> int:
        found = (of.get(name) for name in names) if isinstance(of, dict) else ()
        return next((int(n) for n in found if isinstance(n, int | float) and not isinstance(n, bool) and n > 0), 0)

    prompt = count("prompt_tokens", "input_tokens")
    completion = count("completion_tokens", "output_tokens")
    if not prompt and not completion:
        return None
    read = text_parts.get("prompt_tokens_details") or text_parts.get("input_tokens_details")
    written = text_parts.get("completion_tokens_details") or text_parts.get("output_tokens_details")
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=count("cached_tokens") or count("cached_tokens", of=read),
        cache_write_tokens=count("cache_write_tokens") or count("cache_write_tokens", of=read),
        completion_tokens=completion,
        reasoning_tokens=count("reasoning_tokens") or count("reasoning_tokens", of=written),
    )


Turn = dict[str, Any]
"""A message: {"role", "content"}, and "tool_calls" or "tool_call_id" where it has them."""

ROLES = {
    "developer": "system",
    "human": "user",
    "ai": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "function": "tool",
}
"""Roles as other logs call them."""

KNOWN = ("system", "user", "assistant", "tool")


class LoggedCall(NamedTuple):
    """turns: the conversation, the answer last. time: seconds since 1970. session: joins the calls of one conversation
    or user. expected: a right answer beside the model's own. tools: as declared to the model. service_s, first_token_s:
    seconds; cost: USD; None where not logged.
    """

    turns: tuple[Turn, ...]
    time: float | None = None
    session: str | None = None
    model: str = ""
    usage: Usage | None = None
    service_s: float | None = None
    first_token_s: float | None = None
    cost: float | None = None
    finish: str = ""
    expected: str | None = None
    tools: tuple[dict[str, Any], ...] = ()


class LeftOut(NamedTuple):
    """Why a record of a log makes no row. detail: of this record, for people."""

    reason: str
    detail: str = ""


Found = LoggedCall | LeftOut


def turn_of(message: Any) -> Turn | None:
    """A message with role, text and calls; None for what is none. Parts of a text are joined."""
    if not isinstance(message, dict):
        return None
    role = message.get("role", message.get("from", message.get("type")))
    role = ROLES.get(str(role).lower(), str(role).lower())
    if role not in KNOWN:
        return None
    content = text_of(message.get("content", message.get("value", message.get("text"))))
    turn: Turn = {"role": role, "content": content if content is not None else ""}
    given = message.get("tool_calls")
    calls = [call for call in given if isinstance(call, dict)] if isinstance(given, list) else []
    if calls:
        turn["tool_calls"] = calls
    elif content is None:
        refusal = message.get("refusal")
        turn["content"] = refusal if isinstance(refusal, str) else ""
    if isinstance(message.get("weight"), int | float):
        turn["weight"] = message["weight"]
    return turn


def text_of(content: Any) -> str | None:
    """A message's text: text itself, or its parts of text; None where there is none."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return text_of(content.get("text", content.get("content")))
    if isinstance(content, list):
        parts = [text_of(part) for part in content]
        texts = [part for part in parts if part is not None]
        return "".join(texts) if texts else None
    return None


def turns_of(messages: Any) -> tuple[Turn, ...] | None:
    """A list of messages, or one text as the user's; None where a message is of no known kind."""
    if isinstance(messages, str):
        return ({"role": "user", "content": messages},)
    if isinstance(messages, dict):
        for key in ("messages", "input", "prompt", "content"):
            if key in messages and (found := turns_of(messages[key])):
                return found
        return None
    if not isinstance(messages, list) or not messages:
        return None
    turns = [turn_of(one) for one in messages]
    return None if any(turn is None for turn in turns) else tuple(turn for turn in turns if turn is not None)


def answer_of(output: Any) -> Turn | None:
    """An answer: text, a message, a list that ends in one, or an object that holds one."""
    if isinstance(output, str):
        return {"role": "assistant", "content": output}
    if isinstance(output, list) and output:
        return answer_of(output[-1])
    if not isinstance(output, dict):
        return None
    if "role" in output or "tool_calls" in output:
        turn = turn_of({"role": "assistant", **output})
        return turn if turn is not None and turn["role"] == "assistant" else None
    for key in ("message", "completion", "output", "text", "content", "answer", "response"):
        if key in output and (found := answer_of(output[key])) is not None:
            return found
    return {"role": "assistant", "content": msgspec.json.encode(output).decode()} if output else None


def seconds_of(value: Any) -> float | None:
    """A time as seconds since 1970: a number (seconds, milli-, micro- or nanoseconds), or ISO 8601."""
    if isinstance(value, str):
        text = value.strip()
        if text.replace(".", "", 1).isdigit():
            return seconds_of(float(text))
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e20:
        return None
    for size in (1e17, 1e14, 1e11):
        if value >= size:
            return float(value) / (size / 1e8)
    return float(value)


def number_of(value: Any) -> float | None:
    """A number, also as text; None for anything else and for what is not finite."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def decoded(value: Any) -> Any:
    """A value that may be JSON written as text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value
    return value


def table(value: Any) -> dict[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def first(values: dict[str, Any], *names: str) -> Any:
    """The first of these fields that holds something."""
    return next((values[name] for name in names if values.get(name) not in (None, "")), None)


def calls_or_reason(found: Iterator[Found]) -> list[Found]:
    """What a record gave, or that it holds no call."""
    return list(found) or [LeftOut("holds no call of a model")]


def answer_text(turn: Turn) -> str:
    """The text of an answer; of calls of tools, each as JSON in a line, as every task of Bench writes a call."""
    calls = turn.get("tool_calls")
    if not calls:
        return str(turn["content"])
    return "\n".join(_call_text(table(table(call).get("function"))) for call in calls)


def _call_text(function: dict[str, Any]) -> str:
    return json.dumps(
        {"name": function.get("name"), "arguments": decoded(function.get("arguments")) or {}}, ensure_ascii=False
    )
