"""One line of a file of recorded answers, in the shapes in which such answers are kept.

Read are: a conversation whose last message is the assistant's; an answer by row (`{"id": .., "text": ..}`); and
OpenAI's own objects: a chat completion or a response, alone, beside its request, or as a line of a batch's output file
(platform.openai.com/docs/api-reference, "chat/object", "responses/object", "batch/request-output"). Of usage and finish
reasons what is known is taken; fields of another shape are left.
"""

import codecs
from collections.abc import Iterator
from typing import Any

import msgspec

from harness.data.traces.call import read_usage
from harness.errors import DataError
from harness.hashing import digest
from harness.records import Finish, Usage
from harness.scoring.reasoning import separate_reasoning
from harness.text_normalization import canonical_text

_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "refusal": "refusal",
    "context_too_long": "context_too_long",
}

_REQUEST = ("messages", "input_messages", "input")
"""Keys of a recorded request that hold its prompt."""

Pair = tuple[str, str]
"""Role and text of a message."""


class RecordedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded answer.

    id: the row it answers, or a batch's custom_id; prompt: role and text of each message, None where the line does not
    hold them; service_s, first_token_s: seconds, cost: USD, as the line has them; failed: the
    request that the line records got no answer.
    """

    id: str | None = None
    prompt: tuple[Pair, ...] | None = None
    text: str = ""
    reasoning: str = ""
    finish: Finish | None = None
    usage: Usage | None = None
    service_s: float = 0.0
    first_token_s: float | None = None
    cost: float | None = None
    failed: bool = False


def read_line(raw: bytes, place: str) -> RecordedLine:
    """A line as a recorded answer. Raises UsageError for one that is none."""
    try:
        line = msgspec.json.decode(raw.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{place}: not a recording ({error}).") from None
    if not isinstance(line, dict):
        raise DataError(f"{place}: not a recording (a line holds an object, this is {type(line).__name__}).")
    body = _body(line)
    messages = _messages(line)
    answer = _answer(body)
    if answer is None and isinstance(line.get("text"), str):
        answer = {"content": line["text"]}
    elif answer is None and messages is not None:
        answer, messages = _last_message(messages, place), messages[:-1]
    name = _text(line.get("custom_id")) if "response" in line else _text(line.get("id")) or _text(line.get("custom_id"))
    if answer is None:
        if name is not None and (line.get("error") or _status(line) >= 400):
            return RecordedLine(id=name, failed=True)
        raise DataError(
            f'{place}: a recording needs "messages", "id" (or "custom_id") with "text", or an answer in '
            'OpenAI\'s own form ("choices" or "output").'
        )
    prompt = None if messages is None else tuple((_role(m), content_text(m.get("content"))) for m in messages)
    if prompt is None and name is None:
        raise DataError(f'{place}: nothing says which row this answers: it needs "id", "custom_id" or "messages".')
    return _recorded(answer, line, body, name, prompt)


def prompt_key(prompt: Iterator[Pair] | tuple[Pair, ...]) -> str:
    """A hash by which a prompt is found again: roles and texts, outer white space and forms of Unicode aside."""
    same = {"developer": "system"}
    return digest([[same.get(role, role), canonical_text(text).strip()] for role, text in prompt])


def _recorded(
    answer: dict[str, Any],
    line: dict[str, Any],
    body: dict[str, Any],
    name: str | None,
    prompt: tuple[Pair, ...] | None,
) -> RecordedLine:
    refusal = _text(answer.get("refusal"))
    text_parts = separate_reasoning(content_text(answer.get("content")), prompt=[text for _, text in prompt or ()])
    reasoning = _text(answer.get("reasoning_content")) or _text(answer.get("reasoning"))
    finish = _finish(answer) or _finish(line) or _finish(body)
    return RecordedLine(
        id=name,
        prompt=prompt,
        text=refusal or text_parts.answer,
        reasoning=reasoning or text_parts.reasoning,
        finish="refusal" if refusal else finish,
        usage=read_usage(line.get("usage")) or read_usage(body.get("usage")),
        service_s=_amount(line.get("latency_s")) or 0.0,
        first_token_s=_amount(line.get("first_token_s")),
        cost=_amount(line.get("cost_usd")),
    )


def _amount(value: Any) -> float | None:
    """A number that is no less than nothing, and finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return float(value)


def _body(line: dict[str, Any]) -> dict[str, Any]:
    """The object that holds the answer: the line itself, its `response`, or that one's `body`."""
    body = line.get("response")
    if isinstance(body, dict) and isinstance(body.get("body"), dict):
        body = body["body"]
    return body if isinstance(body, dict) else line


def _messages(line: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The messages of the request, beside the answer or in a `request` (and its `body`)."""
    request = line.get("request")
    places = [line, request, request.get("body") if isinstance(request, dict) else None, line.get("body")]
    for place in places:
        for key in _REQUEST if isinstance(place, dict) else ():
            found = place[key] if isinstance(place, dict) and key in place else None
            if isinstance(found, str):
                return [{"role": "user", "content": found}]
            if isinstance(found, list) and all(isinstance(message, dict) for message in found):
                return found
    return None


def _answer(body: dict[str, Any]) -> dict[str, Any] | None:
    """The assistant's message of a chat completion (with its finish reason) or of a response."""
    choices, output = body.get("choices"), body.get("output")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        message = choices[0].get("message")
        if isinstance(message, dict):
            return {"finish_reason": choices[0].get("finish_reason"), **message}
    if isinstance(output, list):
        parts = [
            part
            for item in output
            if isinstance(item, dict) and item.get("type") == "message" and isinstance(item.get("content"), list)
            for part in item["content"]
        ]
        details = body.get("incomplete_details")
        return {"content": parts, "finish_reason": details.get("reason") if isinstance(details, dict) else None}
    return None


def _last_message(messages: list[dict[str, Any]], place: str) -> dict[str, Any]:
    last = messages[-1] if messages else {}
    if last.get("role") != "assistant" or not (isinstance(last.get("content"), str | list) or last.get("refusal")):
        raise DataError(f"{place}: the last message must be the assistant's, with text as its content.")
    return last


def content_text(content: Any) -> str:
    """The text of a message's content: text itself, or the text of its parts."""
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(part for part in parts if isinstance(part, str))


def _finish(text_parts: dict[str, Any]) -> Finish | None:
    return _FINISH.get(str(text_parts.get("finish_reason") or text_parts.get("finish") or ""))


def _status(line: dict[str, Any]) -> int:
    response = line.get("response")
    code = response.get("status_code") if isinstance(response, dict) else None
    return code if isinstance(code, int) else 0


def _role(message: dict[str, Any]) -> str:
    return str(message.get("role"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
