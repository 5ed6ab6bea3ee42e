"""Parsing a chat completion: finish reasons, content, and the completion that is stored."""

import json
import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from harness.backends.openai.error_body import ServerError, server_error
from harness.backends.openai.label_logprobs import TokenLogprob, answer_logprobs, label_scores, read_logprobs
from harness.backends.openai.openai_settings import OpenAISettings
from harness.backends.openai.request_body import WRAP, is_object
from harness.backends.openai.token_usage import usage_of
from harness.records import Completion, Decode, Finish, Request, Usage
from harness.scoring.reasoning import separate_reasoning

Ending = Finish | Literal["fault", "unknown", "missing"]
"""A finish reason of the records; "fault": the server says that it failed; "unknown": a word that none of the known
providers uses; "missing": no reason given."""

WORDS: dict[Ending, tuple[str, ...]] = {
    "stop": (
        "stop", "stopped", "stop_sequence", "stop_token", "end", "end_turn", "end_of_turn", "eos", "eos_token", "eot",
        "complete", "completed", "finish", "finished", "done", "normal", "success", "succeeded", "tool_calls",
        "tool_call", "tool_use", "tool", "function_call",
    ),
    "length": (
        "length", "max_length", "max_tokens", "max_token", "max_output_tokens", "max_completion_tokens",
        "max_new_tokens", "maxtokens", "model_length", "token_limit", "output_limit", "limit", "incomplete",
        "model_context_window_exceeded", "context_window_exceeded", "context_length_exceeded", "context_length",
    ),
    "refusal": ("refusal", "refused"),
    "content_filter": (
        "content_filter", "content_filtered", "contentfilter", "filtered", "safety", "image_safety", "recitation",
        "language", "blocklist", "blocked", "prohibited_content", "spii", "guardrail_intervened", "guardrail",
        "guardrails", "sensitive", "moderation", "moderated", "policy_violation", "error_toxic",
    ),
    "fault": (
        "error", "errored", "failed", "failure", "fault", "exception", "abort", "aborted", "cancel", "cancelled",
        "canceled", "user_cancel", "timeout", "timed_out", "time_limit", "network_error", "connection_error",
        "insufficient_system_resource", "internal_error", "server_error", "error_limit", "overloaded", "other",
        "malformed_function_call", "malformed_response", "malformed_model_output", "malformed_tool_use",
        "unexpected_tool_call", "too_many_tool_calls", "not_finished", "load", "unload", "interrupted", "preempted",
        "repetition", "no_image", "pause_turn",
    ),
    "missing": ("", "null", "none", "unspecified", "in_progress", "unknown"),
}  # fmt: skip
_ENDINGS: dict[str, Ending] = {word: ending for ending, words in WORDS.items() for word in words}
_NAMES = ("type", "reason", "finish_reason", "stop_reason", "value", "name", "kind")


def ending_of(reason: Any) -> Ending:
    """What a `finish_reason` means, in whatever spelling or shape: "MAX_TOKENS", "FinishReason.STOP",
    {"type": "stop"}. A shape that holds no word is as if it were missing."""
    known = _ENDINGS.get(reason) if isinstance(reason, str) else None  # nearly all are exact matches
    return known or _ENDINGS.get(_word(reason), "unknown")


def _word(reason: Any) -> str:
    if isinstance(reason, dict):
        found = (reason[name] for name in _NAMES if isinstance(reason.get(name), str))
        return _word(next(found, None))
    if not isinstance(reason, str):
        return ""
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", reason.strip()).lower()
    word = re.sub(r"[^a-z0-9]+", "_", word.rsplit(".", 1)[-1]).strip("_")
    return word.removeprefix("finish_reason_").removeprefix("stop_reason_")


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
    """One whole answer.

    raw: the text as it came, before thoughts were taken out of it. probabilities: of a classification, in the order of
    the model's labels.
    """

    text: str
    finish: Finish
    reasoning: str = ""
    raw: str = ""
    usage: Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    probabilities: tuple[float, ...] = ()


def read_answer(body: bytes) -> ChatAnswer:
    """Read a body. Raises BadBodyError where it holds no chat answer, ReportedError where it holds an error."""
    plain = decode(body)
    if isinstance(plain, list) and plain and isinstance(plain[0], dict):  # Gemini wraps its errors in a list
        plain = plain[0]
    if not isinstance(plain, dict):
        raise BadBodyError(f"the body is not a JSON chat completion: {first_words(body)}")
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
    text, refusal = parts.called() or "".join(parts.text), "".join(parts.refusal)
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


def _finish(reason: Any, content: str, usage: Usage | None) -> Finish:
    ending = ending_of(reason)
    if ending == "fault":
        raise ReportedError(ServerError(f"the answer ended with finish_reason = {reason!s:.40}"), usage)
    if ending == "unknown":
        raise BadBodyError(f"the answer ended with an unknown finish_reason, '{reason!s:.40}'", usage)
    if ending == "missing":
        if not content.strip():
            raise BadBodyError("the answer has neither a text nor a finish_reason", usage)
        return "stop"
    return ending


def _joined(given: str, separated: str) -> str:
    """Thoughts from a field of their own and from the text; some gateways give the same ones in both."""
    if not given or not separated or separated in given:
        return given or separated
    return f"{given}\n{separated}"


class MessageParts:
    """Text, reasoning, refusal and calls of tools of a message, or of the deltas that make one up.

    calls: number of the call -> its name and its arguments as JSON, piece by piece.
    """

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, list[str]] = {}

    def add(self, message: Any) -> bool:
        """Take in a message or delta of any shape; whether it held anything."""
        before = self._held()
        if isinstance(message, dict):
            self._add_content(message.get("content"))
            self._add_calls(message)
            thoughts = (_plain(message.get(name)) for name in REASONING_FIELDS)
            self._put(self.reasoning, next(filter(None, thoughts), ""))
            refusal = message.get("refusal")
            self._put(self.refusal, refusal if isinstance(refusal, str) else "")
        else:
            self._add_content(message)
        return self._held() > before

    def _held(self) -> int:
        pieces = sum(len(name) + len(arguments) for name, arguments in self.calls.values())
        return len(self.text) + len(self.reasoning) + len(self.refusal) + pieces

    def called(self) -> str:
        """The calls as an answer writes them: one object, or a list where there are several; "" for none."""
        found = []
        for name, written in (parts for _, parts in sorted(self.calls.items()) if parts[0]):
            read = decode(written or "{}")
            found.append({"name": name, "arguments": read if isinstance(read, dict) else written})
        return json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False) if found else ""

    def _add_calls(self, message: dict[str, Any]) -> None:
        """OpenAI's `tool_calls` (vLLM's and llama.cpp's too), the older `function_call`, arguments as text or read."""
        calls = message.get("tool_calls")
        listed = calls if isinstance(calls, list) else [calls] if isinstance(calls, dict) else []
        old = message.get("function_call")
        for position, call in enumerate([*listed, *([{"function": old}] if isinstance(old, dict) else [])]):
            function = call.get("function", call) if isinstance(call, dict) else None
            if not isinstance(function, dict):
                continue
            index = call.get("index")
            parts = self.calls.setdefault(index if isinstance(index, int) else position, ["", ""])
            for n, key in enumerate(("name", "arguments")):
                value = function.get(key)
                if isinstance(value, str):
                    parts[n] += value
                elif value is not None:
                    parts[n] += json.dumps(value, ensure_ascii=False)

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
    """The text in a value of any shape: itself, its parts', or the values of the usual keys."""
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


def completion_of(
    request: Request, answer: ChatAnswer, settings: OpenAISettings, decode: Decode, clean: Callable[[str], str]
) -> Completion:
    """Text, reasoning, finish, usage and label scores of an answer; times and costs are the caller's.

    clean: takes secrets out of what a server echoed.
    """
    separated = separate_reasoning(answer.raw, prompt=(message.content for message in request.messages))
    text, reasoning = answer.text if answer.finish == "refusal" else separated.answer, answer.reasoning
    if settings.template.get("enable_thinking") is False and answer.finish == "stop" and not text.strip():
        # Some reasoning parsers take the whole answer for thoughts where thinking is off (vllm-project/vllm #17357).
        text, reasoning = reasoning, ""
    whole_json = decode == "json" and answer.finish in ("stop", "length")
    unwrapped = unwrap(request, text) if whole_json else text
    scores = None
    if settings.logprobs:
        quoted = decode == "json" and unwrapped != text
        scores = label_scores(answer.logprobs, unwrapped, request.labels, quoted=quoted)
    return Completion(
        id=request.id,
        repeat=request.repeat,
        text=clean(unwrapped),
        reasoning=clean(reasoning),
        finish=answer.finish,
        usage=answer.usage or Usage(),
        label_scores=scores,
        token_logprobs=answer_logprobs(answer.logprobs, unwrapped) or answer_logprobs(answer.logprobs, text),
    )


def unwrap(request: Request, text: str) -> str:
    """The answer inside {"answer": ..}: a label as plain text, anything else as JSON; other text as it came."""
    if request.schema is not None and is_object(request.schema):
        return text
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    if not isinstance(value, dict) or set(value) != {WRAP}:
        return text
    inner = value[WRAP]
    return inner if isinstance(inner, str) and request.schema is None else msgspec.json.encode(inner).decode()
