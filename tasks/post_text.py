"""A post's HTML as plain ASCII text."""

import html.entities
import unicodedata
from html.parser import HTMLParser

BLOCKS = frozenset({"p", "div", "li", "ul", "ol", "blockquote", "h1", "h2", "h3", "h4", "hr", "br", "table", "tr"})

ASCII = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'", "\u00b4": "'",
        "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
        "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2015": "-", "\u2212": "-",
        "\u2026": "...", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "", "\u00ad": "",
        "\u2022": "*", "\u00d7": "x", "\u2190": "<-", "\u2192": "->", "\u2264": "<=", "\u2265": ">=", "\u2260": "!=",
        "\u00df": "ss", "\u00e6": "ae", "\u00c6": "AE", "\u00f8": "o", "\u00d8": "O", "\u0153": "oe", "\u0142": "l",
    }
)  # fmt: skip


def plain_text(body: str) -> str | None:
    """The text of an HTML body; None where it holds a code block (`<pre>`). Formulas between $ stay as written."""
    reader = _Reader()
    reader.feed(body)
    reader.close()
    if reader.code:
        return None
    paragraphs = (" ".join(part.split()) for part in "".join(reader.parts).split("\n"))
    return "\n".join(part for part in paragraphs if part)


def to_ascii(text: str) -> str:
    """Letters without their accents, typographic signs as typed ones, anything else as an HTML entity (`&beta;`)."""
    return "".join(_ascii(sign) for sign in text.translate(ASCII))


def _ascii(sign: str) -> str:
    if ord(sign) < 128:
        return sign
    bare = "".join(c for c in unicodedata.normalize("NFKD", sign) if ord(c) < 128)
    if bare:
        return bare
    if unicodedata.combining(sign):
        return ""
    name = html.entities.codepoint2name.get(ord(sign))
    return f"&{name};" if name else f"&#{ord(sign)};"


class _Reader(HTMLParser):
    """Gathers text; line ends where blocks begin and end."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.code = self.code or tag == "pre"
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data.replace("\n", " "))
