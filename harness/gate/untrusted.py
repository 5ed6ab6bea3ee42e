"""Model output in places that interpret text: Markdown, XML 1.0, workflow commands."""

import re
import unicodedata

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
