"""From a server's answer to what is kept of it: the same for a single call, a stream and a batch."""

from collections.abc import Callable

import msgspec

from harness.answers.reasoning import separate_reasoning
from harness.api.answer import ChatAnswer
from harness.api.body import WRAP, is_object
from harness.api.label_logprobs import label_scores
from harness.api.settings import OpenAISettings
from harness.records import Completion, Decode, Request, Usage


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
