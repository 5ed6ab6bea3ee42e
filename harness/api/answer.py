"""Reading a chat answer: what the answer is must be right, everything beside it may have any shape.

Servers call themselves OpenAI-compatible and differ in all side fields: content as a list of parts (Mistral's
Magistral), fingerprints that are numbers, usage as a list, a refusal that is `false`, reasoning under six names. The
body is decoded to plain values and read field by field: what has another shape is left out, never the answer with it.
"""

import json
from typing import Any

import msgspec

from harness.answers.reasoning import separate_reasoning
from harness.api.finish_reasons import ending_of
from harness.api.label_logprobs import TokenLogprob, read_logprobs
from harness.api.server_error import ServerError, server_error
from harness.api.usage import usage_of
from harness.records import Finish, Usage

REASONING_FIELDS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "reasoning_details",
    "thinking_blocks",
)
"""Where servers put a model's thoughts: DeepSeek, vLLM before 0.12, SGLang, llama.cpp; vLLM, OpenRouter, Groq, Ollama;
others; LiteLLM's list of blocks."""
FIRST_WORDS = 120
"""Characters of a foreign body that are shown."""
MOST_NESTED = 8
"""Levels of parts within parts that are read."""


class BadBodyError(Exception):
    """A 2xx that holds no chat answer. `usage` is what it says it used, where it says so."""

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


class ReportedError(Exception):
    """A 2xx in which the server reports an error, or ends the answer with one; usage: as for BadBodyError."""

    def __init__(self, error: ServerError, usage: Usage | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.usage = usage


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer. `raw` is the text as it came, before thoughts were taken out of it."""

    text: str
    finish: Finish
    reasoning: str = ""
    raw: str = ""
    usage: Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


def read_answer(body: bytes) -> ChatAnswer:
    """Read a body. Raises BadBodyError where it holds no chat answer, ReportedError where it holds an error."""
    plain = decode(body)
    if isinstance(plain, list) and plain and isinstance(plain[0], dict):  # Gemini wraps its errors in a list
        plain = plain[0]
    if not isinstance(plain, dict):
        raise BadBodyError(f"the body is no JSON chat answer: {first_words(body)}")
    usage = usage_of(plain)
    choice = first_choice(plain)
    if choice is None:
        error = server_error(plain)
        if error is not None:
            raise ReportedError(error, usage)
        raise BadBodyError(f"the answer holds no choices: {first_words(body)}", usage)
    parts = MessageParts()
    parts.add(message_of(choice))
    return whole_answer(plain, choice, parts, choice.get("finish_reason"), usage)


def whole_answer(
    body: dict[str, Any], choice: dict[str, Any], parts: "MessageParts", reason: Any, usage: Usage | None
) -> ChatAnswer:
    """The answer from its parts, of a body or of a stream. Raises ReportedError and BadBodyError where it did not end
    as an answer does: the server says that it failed, or gives an unknown reason, or none and no text either."""
    error = server_error(body, answered=True) or server_error(choice, answered=True)
    if error is not None:
        raise ReportedError(error, usage)
    text, refusal = "".join(parts.text), "".join(parts.refusal)
    finish = _finish(reason, text + refusal, usage)
    separated = separate_reasoning(text)
    return ChatAnswer(
        text=refusal or separated.answer,
        finish="refusal" if refusal else finish,
        reasoning=_joined("".join(parts.reasoning).strip(), separated.reasoning),
        raw=text,
        usage=usage,
        model=_text(body.get("model")),
        system_fingerprint=_text(body.get("system_fingerprint")),
        service_tier=_text(body.get("service_tier")),
        logprobs=read_logprobs(choice.get("logprobs")),
    )


def _finish(reason: Any, said: str, usage: Usage | None) -> Finish:
    ending = ending_of(reason)
    if ending == "fault":
        raise ReportedError(ServerError(f"the answer ended with finish_reason = {reason!s:.40}"), usage)
    if ending == "unknown":
        raise BadBodyError(f"the answer ended with an unknown finish_reason, '{reason!s:.40}'", usage)
    if ending == "missing":
        if not said.strip():
            raise BadBodyError("the answer has neither a text nor a finish_reason", usage)
        return "stop"
    return ending


def _joined(given: str, separated: str) -> str:
    """Thoughts from a field of their own and from the text; some gateways give the same ones in both."""
    if not given or not separated or separated in given:
        return given or separated
    return f"{given}\n{separated}"


class MessageParts:
    """Text, reasoning and refusal of a message, or of the deltas that make one up."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []

    def add(self, message: Any) -> bool:
        """Take in a message or delta of any shape; whether it held anything."""
        before = len(self.text) + len(self.reasoning) + len(self.refusal)
        if isinstance(message, dict):
            self._add_content(message.get("content"))
            thoughts = (_plain(message.get(name)) for name in REASONING_FIELDS)
            self._put(self.reasoning, next(filter(None, thoughts), ""))
            refusal = message.get("refusal")
            self._put(self.refusal, refusal if isinstance(refusal, str) else "")
        else:
            self._add_content(message)
        return len(self.text) + len(self.reasoning) + len(self.refusal) > before

    def _put(self, where: list[str], text: str) -> None:
        if text:
            where.append(text)

    def _add_content(self, content: Any) -> None:
        if isinstance(content, list):
            for part in content:
                self._add_part(part)
        elif isinstance(content, dict):
            self._add_part(content)
        elif content is not None:
            self._put(self.text, content if isinstance(content, str) else json.dumps(content))

    def _add_part(self, part: Any) -> None:
        """One part of a content: by its type, where it names one; JSON that a gateway has read for us is JSON again."""
        if not isinstance(part, dict):
            self._add_content(None if isinstance(part, list) else part)
            return
        kind = part.get("type")
        kind = kind if isinstance(kind, str) else ""
        if "thinking" in kind or "reasoning" in kind or "thought" in kind or part.get("thought") is True:
            self._put(self.reasoning, _plain(part))
        elif kind == "refusal":
            self._put(self.refusal, _plain(part.get("refusal")))
        elif "text" in part or kind:
            self._put(self.text, _plain(part.get("text", part.get("content"))))
        else:
            self._put(self.text, json.dumps(part, ensure_ascii=False))


def _plain(value: Any, depth: int = 0) -> str:
    """The text in a value of any shape: itself, its parts', or what stands under the usual names."""
    if isinstance(value, str):
        return value
    if depth > MOST_NESTED:
        return ""
    if isinstance(value, list):
        return "".join(_plain(part, depth + 1) for part in value)
    if isinstance(value, dict):
        found = (_plain(value.get(name), depth + 1) for name in ("text", "thinking", "content", "reasoning", "summary"))
        return next(filter(None, found), "")
    return ""


def first_choice(body: dict[str, Any]) -> dict[str, Any] | None:
    """The first choice of an answer or of a stream's event; None where there is none."""
    choices = body.get("choices")
    if isinstance(choices, dict):
        return choices
    if not isinstance(choices, list):
        return None
    return next((choice for choice in choices if isinstance(choice, dict)), None)


def message_of(choice: dict[str, Any]) -> Any:
    """A choice's message, delta, or text, whichever it has."""
    return next((choice[name] for name in ("message", "delta", "text") if choice.get(name) is not None), None)


def decode(body: bytes | str) -> Any:
    """A body as plain values. What strict JSON does not allow (a lone surrogate, NaN) is read all the same: such
    answers were paid for. None for what is no JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _encodable(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_encodable(v) for v in value]
    if isinstance(value, dict):
        return {_encodable(k): _encodable(v) for k, v in value.items()}
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)[:200] or None


def first_words(body: bytes) -> str:
    """The beginning of a foreign body in one line, for a message."""
    words = " ".join(body[: 8 * FIRST_WORDS].decode("utf-8", "replace").split())
    return f"'{words[:FIRST_WORDS]}{'..' if len(words) > FIRST_WORDS else ''}'" if words else "(an empty body)"
