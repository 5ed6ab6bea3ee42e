"""Token counts without a call: tiktoken where its encoding is installed, else bytes / 4, marked approximate."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.records import Decode, Request

ENCODINGS = "https://openaipublic.blob.core.windows.net/encodings"
PER_MESSAGE, PER_REPLY = 3, 3
"""Tokens that OpenAI's chat format adds to each message and to the whole (OpenAI cookbook, token counting)."""
BYTES_PER_TOKEN = 4


class Counter(NamedTuple):
    """A way of counting: the function, its display name, and whether it is only approximate."""

    count: Callable[[str], int]
    name: str
    approximate: bool


def counter_for(model: str) -> Counter:
    """The model's own tokeniser if tiktoken is installed and has the encoding at hand; never downloads one."""
    try:
        import tiktoken

        name = tiktoken.encoding_name_for_model(model.removeprefix("ft:"))
    except (ImportError, KeyError):
        return APPROXIMATE
    if not _at_hand(name):
        return APPROXIMATE
    encoding = tiktoken.get_encoding(name)
    return Counter(lambda text: len(encoding.encode(text, disallowed_special=())), f"tiktoken {name}", False)


def _at_hand(encoding: str) -> bool:
    """Whether tiktoken would find the encoding in its own cache (its rule: SHA-1 of the address)."""
    default = str(Path(tempfile.gettempdir()) / "data-gym-cache")
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR") or default
    return (Path(folder) / hashlib.sha1(f"{ENCODINGS}/{encoding}.tiktoken".encode()).hexdigest()).is_file()


def _by_bytes(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


APPROXIMATE = Counter(_by_bytes, "bytes / 4", True)


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
