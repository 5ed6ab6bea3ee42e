"""Paths and addresses of one machine, which are meaningless elsewhere and identify their author."""

import html
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

PUBLIC = ("api.openai.com",)
"""Servers whose address reveals nothing about the user."""

ADDRESS = "(address left out)"

_URL = re.compile(r"https?://[^\s\"'<>]+")
_SHORTEST = 4


def is_path(text: str) -> bool:
    """Whether a text is a path of this machine: absolute, begun with a dot or `~`, or one that exists."""
    if "\n" in text:
        return False
    if text.startswith(("/", "./", "../", "~", ".\\", "..\\")) or text[1:3] == ":\\":
        return True
    return ("/" in text or "\\" in text) and len(text) < 1024 and Path(text).exists()


def private_texts(records: Iterable[Any]) -> dict[str, str]:
    """Every path and address that records (msgspec Structs, or values of JSON) hold -> what to show instead.

    A path is shown by its last part, an address not at all.
    """
    found: dict[str, str] = {}
    for text in _texts(msgspec.to_builtins(list(records))):
        for url in _URL.findall(text):
            place = urlsplit(url).netloc
            if place and place.rpartition("@")[2].partition(":")[0] not in PUBLIC:
                found |= {url: ADDRESS, place: ADDRESS}
        if is_path(text) and len(text) >= _SHORTEST:
            file, colon, name = text.rpartition(":") if ".py:" in text else (text, "", "")
            found[text] = f"{Path(file).name}{colon}{name}"
            if Path(file).is_absolute():
                found[f"{Path(file).parent}/"] = ""
    found |= {f"{Path.home()}/": "", f"{Path.cwd()}/": ""}
    return {text: shown for text, shown in found.items() if len(text) >= _SHORTEST}


def without_private(page: str, private: dict[str, str]) -> str:
    """A page or text with the private texts replaced: verbatim, as HTML and as JSON."""
    for text in sorted(private, key=len, reverse=True):
        for written in {text, html.escape(text), json.dumps(text)[1:-1], json.dumps(text).replace("/", "\\/")[1:-1]}:
            page = page.replace(written, html.escape(private[text]))
    return page


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
