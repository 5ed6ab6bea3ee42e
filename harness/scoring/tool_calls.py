"""Calls of tools in the shapes that servers, chat templates and data sets write."""

import json
import re
from dataclasses import dataclass
from typing import Any

from harness.scoring.answer_reading import DECODER, outermost_json, parsed_json

_WRAPPERS = (
    re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL),  # Hermes, Qwen, SmolLM3
    re.compile(r"\[TOOL_CALLS\](.*)", re.DOTALL),  # Mistral
    re.compile(r"<\|python_tag\|>(.*?)(?:<\|eom_id\|>|<\|eot_id\|>|$)", re.DOTALL),  # Llama 3
    re.compile(r"<\|tool_call\|>(.*?)(?:<\|/tool_call\|>|$)", re.DOTALL),  # Granite, Phi-4
    re.compile(r"```(?:json)?\s(.*?)```", re.DOTALL),
)
"""How chat templates write a call; what is inside is JSON."""

_FUNCTION = re.compile(r"<function=([\w.-]+)>(.*?)</function>", re.DOTALL)
"""Llama 3's custom functions: the name is in the tag."""

ARGUMENTS = ("arguments", "parameters", "args", "input")
"""Names under which a call holds its arguments: OpenAI and Hermes; Llama 3; others; Anthropic."""

WRAPPED_AS_CODE = _WRAPPERS[-1]


@dataclass(frozen=True)
class ToolCall:
    """A tool's name and its arguments; None where they are no JSON object."""

    name: str
    arguments: dict[str, Any] | None

    def text(self) -> str:
        """As an answer writes it."""
        return json.dumps({"name": self.name, "arguments": self.arguments or {}}, ensure_ascii=False)


def calls_in(value: Any) -> list[ToolCall] | None:
    """The calls that a JSON value is: one call, a list of calls, or a message that holds some; None for any other."""
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    found = [_call(one) for one in (value if isinstance(value, list) else [value])]
    calls = [call for call in found if call is not None]
    return calls if len(calls) == len(found) else None


def _call(value: Any) -> ToolCall | None:
    """The call that an object is."""
    if not isinstance(value, dict):
        return None
    inner = value.get("function", value.get("function_call", value))
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        return None
    if inner is value and not any(key in value for key in ARGUMENTS):
        return None
    return ToolCall(inner["name"], _arguments(next((inner[key] for key in ARGUMENTS if key in inner), {})))


def _arguments(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        parsed = parsed_json(value or "{}")
        if parsed is None:
            return None
        value = parsed[0]
    return {} if value is None else value if isinstance(value, dict) else None


def read_calls(text: str) -> tuple[list[ToolCall], bool]:
    """The calls in an answer, and whether the answer consists of them alone.

    As JSON, or as a model's chat template writes them; within other text every JSON object that is a call.
    """
    whole = _calls_of(text)
    if whole:
        return whole, True
    found, rest = _wrapped(text)
    if found:
        return found, not rest.strip()
    objects = [calls_in(value) for value, _, _ in outermost_json(text, DECODER)]
    return [call for calls in objects for call in calls or []], False


def _wrapped(text: str) -> tuple[list[ToolCall], str]:
    """Calls in a chat template's own marks, and the text without them."""
    found = [ToolCall(m[1], _arguments(m[2].strip())) for m in _FUNCTION.finditer(text)]
    if found:
        return found, _FUNCTION.sub("", text)
    for pattern in _WRAPPERS:
        inside = [_calls_of(match[1]) for match in pattern.finditer(text)]
        if inside and all(inside):
            rest = "extra" if pattern is WRAPPED_AS_CODE else pattern.sub("", text)
            return [call for calls in inside for call in calls or []], rest
    return [], text


def _calls_of(text: str) -> list[ToolCall] | None:
    parsed = parsed_json(text)
    return None if parsed is None else calls_in(parsed[0])
