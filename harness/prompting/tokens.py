"""Counting tokens without a call: tiktoken where its encoding lies on this machine, else bytes / 4, and said so."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ENCODINGS = "https://openaipublic.blob.core.windows.net/encodings"
PER_MESSAGE, PER_REPLY = 3, 3
"""Tokens that OpenAI's chat format adds to each message and to the whole (OpenAI cookbook, token counting)."""
BYTES_PER_TOKEN = 4


class Counter(NamedTuple):
    """A way of counting: the function, its name for people, and whether it is only approximate."""

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
