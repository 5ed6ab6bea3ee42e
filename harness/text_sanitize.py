"""Untrusted text made harmless where it is interpreted, and paths and addresses of one machine taken out."""

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def xml_text(text: str) -> str:
    """Only characters that XML 1.0 allows; the others, lone surrogates too, become U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def one_line(text: str, most: int) -> str:
    """One visible line of at most `most` characters: controls, direction marks and zero-widths become U+FFFD."""
    flat = " ".join(text.split())
    shown = "".join("\ufffd" if unicodedata.category(c) in _INVISIBLE else c for c in flat)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def markdown_cell(text: str, most: int = 120) -> str:
    """Text inside a Markdown table: no HTML, links, mentions, images or column ends."""
    shown = one_line(text, most)
    for char, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("@", "&#64;")):
        shown = shown.replace(char, safe)
    return re.sub(r"([\\`*_{}\[\]()!~])", r"\\\1", shown).replace("://", ":&#8203;//")


def workflow_message(text: str) -> str:
    """The message of a GitHub workflow command: percent and line ends escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def workflow_property(text: str) -> str:
    """A property of a GitHub workflow command: also colon and comma."""
    return workflow_message(text).replace(":", "%3A").replace(",", "%2C")


_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, except tab and line feed
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners, fillers
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # zero-width, separators, bidirectional controls
    "\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff9-\uffff"  # fillers, variation selectors (not those of emoji), BOM
    "\ud800-\udfff"  # lone surrogates: no encoder takes them
    "\U000e0000-\U000e0fff"  # tags: text that only machines see
    "]"
    # joiners belong to the spelling of Arabic and Indic scripts and to emoji; elsewhere they only hide
    "|(?<![\u0600-\u0dff\u2600-\u27bf\ufe0f\U0001f300-\U0001faff])[\u200c\u200d]"
)


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else f"⟨U+{code:04X}⟩"


def visible(text: str) -> str:
    """The text with every character that hides or reorders others replaced by a sign one can see.

    Control characters become their pictures (NUL reads "␀"), others their code point (U+202E reads "⟨U+202E⟩").
    Tab and line feed stay. The result can always be encoded as UTF-8.
    """
    return _HIDDEN.sub(_picture, text)


def visible_line(text: str, most: int = 200) -> str:
    """`visible`, white space folded into single blanks, cut to `most` characters with an ellipsis."""
    line = " ".join(visible(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


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


def html_table(heading: str, table: Sequence[Sequence[str]]) -> str:
    """A heading and a table of text, its first row the header, as notebooks show them."""
    header, *body = [[html.escape(visible_line(cell)) for cell in cells] for cells in table]
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in body)
    return (
        f"<div><p>{html.escape(visible_line(heading))}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
