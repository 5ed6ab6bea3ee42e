"""Reading a chat answer: text, finish reason, usage and label log-probabilities, straight from the bytes."""

import json
from typing import Any

import msgspec

from harness.records import Finish, Usage


class BadBodyError(Exception):
    """A 2xx whose body is not a chat answer. `usage` is what it says it used, where it says so."""

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Token(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Top] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class ChatAnswer(msgspec.Struct):
    """The parts of a chat completion that Bench reads; everything else is skipped unparsed."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(ChatAnswer, strict=False)

FINISH: dict[str, Finish] = {"length": "length", "content_filter": "content_filter"}


def read_answer(body: bytes) -> ChatAnswer:
    """Decode a body. Raises BadBodyError where it is not JSON, not a chat answer, or has no choices."""
    try:
        answer = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = _read_odd(body)
    if not answer.choices:
        said = f": {answer.error}" if answer.error else ""
        raise BadBodyError(f"the answer holds no choices{said}", read_usage(answer))
    return answer


def _read_odd(body: bytes) -> ChatAnswer:
    """Whole answers that strict JSON does not allow (a lone surrogate, NaN): paid for, so not to be lost."""
    try:
        return msgspec.convert(_mend(json.loads(body)), ChatAnswer, strict=False)
    except (ValueError, RecursionError):
        raise BadBodyError("the body is not a JSON chat answer") from None


def _mend(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_mend(v) for v in value]
    if isinstance(value, dict):
        return {_mend(k): _mend(v) for k, v in value.items()}
    return value


def read_usage(answer: ChatAnswer) -> Usage | None:
    """Usage as the server counted it; None where it does not say (a prompt of no tokens is no count)."""
    said = answer.usage
    if said is None or not said.prompt_tokens:
        return None
    details = said.prompt_tokens_details or _Details()
    return Usage(
        prompt_tokens=said.prompt_tokens,
        cached_tokens=details.cached_tokens or 0,
        cache_write_tokens=details.cache_write_tokens or 0,
        completion_tokens=said.completion_tokens or 0,
    )


def read_text(answer: ChatAnswer) -> tuple[str, Finish]:
    """The text and why it ended; a refusal's text is what the model said instead."""
    choice = answer.choices[0]
    if choice.message.refusal:
        return choice.message.refusal, "refusal"
    return choice.message.content or "", FINISH.get(choice.finish_reason or "", "stop")


def label_scores(answer: ChatAnswer, labels: tuple[str, ...]) -> dict[str, float] | None:
    """Log-probabilities of labels, as far as the server gives them; None where it gives none.

    The answered label's is the sum over its tokens. Another label's is known where exactly one of the first
    position's alternatives begins it (labels that begin alike are left out: their first token tells nothing).
    """
    given = answer.choices[0].logprobs
    if given is None or not given.content or not labels:
        return None
    text = "".join(token.token for token in given.content).strip()
    scores: dict[str, float] = {}
    firsts = {top.token.strip(): top.logprob for top in given.content[0].top_logprobs or ()}
    for label in labels:
        begins = [logprob for token, logprob in firsts.items() if token and label.startswith(token)]
        alone = (
            sum(1 for other in labels if any(t and other.startswith(t) and label.startswith(t) for t in firsts)) == 1
        )
        if label == text:
            scores[label] = sum(token.logprob for token in given.content)
        elif len(begins) == 1 and alone:
            scores[label] = begins[0]
    return scores or None
