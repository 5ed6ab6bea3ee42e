"""Tokens of a request as servers count them, under the names that they give them."""

from typing import Any

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
