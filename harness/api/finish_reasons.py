"""Why an answer ended, in every provider's words.

Sources: OpenAI's API reference (stop, length, content_filter, tool_calls, function_call); Anthropic's stop reasons
(end_turn, max_tokens, stop_sequence, refusal, model_context_window_exceeded); Gemini's FinishReason enumeration;
Mistral (model_length, error); Cohere (COMPLETE, ERROR_TOXIC, ERROR_LIMIT, USER_CANCEL); Bedrock's StopReason
(guardrail_intervened, content_filtered, malformed_model_output); DeepSeek (insufficient_system_resource); Zhipu
(sensitive, network_error); watsonx (eos_token, token_limit, time_limit, cancelled); TGI (eos_token); vLLM and SGLang
(abort, error: vllm-project/vllm #57082 shows an abort that ends a stream as if it were whole).
"""

import re
from typing import Any, Literal

from harness.records import Finish

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
    known = _ENDINGS.get(reason) if isinstance(reason, str) else None  # nearly all come in a word as it stands
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
