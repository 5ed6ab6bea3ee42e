"""Untrusted text in places that interpret it: Markdown, XML 1.0, workflow commands, terminals and pages."""

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
