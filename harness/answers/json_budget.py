"""How many tokens an answer may take when a server writes it as JSON: its own budget, and that of what is around it."""

from harness.records import Decode, Request

ENVELOPE_TOKENS = 64
"""Room for {"answer": ..} and its white space: a server's grammar may allow a line end and twenty blanks at each of the
five joints (llama.cpp's does)."""
WHITE_SPACE = 0.5
"""Tokens that indented JSON takes beyond compact JSON, as a share."""


def answer_budget(request: Request, decode: Decode) -> int:
    """The most tokens to ask a server for. `request.max_tokens` is the answer's own budget, without any envelope."""
    if decode != "json":
        return request.max_tokens
    spacing = 0 if request.schema is None else int(request.max_tokens * WHITE_SPACE)
    return request.max_tokens + spacing + ENVELOPE_TOKENS
