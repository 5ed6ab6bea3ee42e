"""Tokens as a server counted them, whatever convention it follows.

OpenAI counts reasoning inside `completion_tokens` and cached tokens inside `prompt_tokens`. xAI and Gemini's
compatible endpoint leave reasoning out of `completion_tokens` (UKGovernmentBEIS/inspect_ai #5528), Anthropic leaves
cached tokens out of `input_tokens`. `total_tokens` decides which holds: it is the sum of what was billed.
"""

import math
from typing import Any

from harness.records import Usage

MOST_TOKENS = 1_000_000_000
"""Counts above it are no counts."""


def usage_of(body: dict[str, Any]) -> Usage | None:
    """The usage of an answer or of a stream's event; None where it does not say (a prompt of no tokens is no count)."""
    for key in (body, body.get("x_groq")):
        usage = key.get("usage") if isinstance(key, dict) else None
        if isinstance(usage, list):
            usage = next((part for part in usage if isinstance(part, dict)), None)
        if isinstance(usage, dict):
            found = _read(usage)
            if found is not None:
                return found
    return None


def _read(usage: dict[str, Any]) -> Usage | None:
    prompt = _first(usage, "prompt_tokens", "input_tokens")
    if not prompt:
        return None
    answer = _first(usage, "completion_tokens", "output_tokens")
    of_prompt = _details(usage, "prompt_tokens_details", "input_tokens_details")
    of_answer = _details(usage, "completion_tokens_details", "output_tokens_details")
    cached = _first(of_prompt, "cached_tokens") or _first(
        usage, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"
    )
    written = _first(of_prompt, "cache_write_tokens", "cache_creation_tokens") or _first(
        usage, "cache_creation_input_tokens"
    )
    reasoning = _first(of_answer, "reasoning_tokens", "thinking_tokens") or _first(
        usage, "reasoning_tokens", "thinking_tokens", "thoughts_tokens"
    )
    total = _first(usage, "total_tokens")
    prompt, answer, reasoning = _reconcile(prompt, answer, reasoning, cached, written, total)
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=min(cached, prompt),
        cache_write_tokens=min(written, max(0, prompt - cached)),
        completion_tokens=answer,
        reasoning_tokens=min(reasoning, answer),
    )


def _reconcile(prompt: int, answer: int, reasoning: int, cached: int, written: int, total: int) -> tuple[int, int, int]:
    """Prompt with all cached tokens in it, answer with all reasoning in it, and reasoning.

    The first convention whose sum is `total_tokens` holds. Where none fits, a total above the sum is the answer's:
    tokens that were billed and are not reported elsewhere are reasoning (Gemini reports it only this way). Without a
    total, counts that cannot be parts of their total are reported with it.
    """
    separate = cached + written
    if total:
        for of_prompt in (0, separate, cached):
            for of_answer in (0, reasoning):
                if total == prompt + of_prompt + answer + of_answer:
                    return prompt + of_prompt, answer + of_answer, reasoning
        unseen = total - prompt - answer
        if unseen > 0:
            return prompt, answer + unseen, max(reasoning, unseen)
    return (
        prompt + separate if separate > prompt else prompt,
        answer + reasoning if reasoning > answer else answer,
        reasoning,
    )


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), {})


def _first(usage: dict[str, Any], *names: str) -> int:
    """The first of these counts that is one: a whole number, or one written as text."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and 0 < value <= MOST_TOKENS:
            return int(value)
    return 0
