"""One normalisation of text for every comparison: labels, references, answers, evaluated and training rows.

Two strengths. `canonical_text` keeps everything that a reader can see and removes what only a computer can: composed
or decomposed letters, invisible characters, kinds of blank. `comparable_text` also removes what a reader would not
call a difference: case, full-width and other compatibility forms, typographic dashes and quotation marks, runs of
white space.

Sources: Unicode Standard Annex #15 (normalisation forms), chapter 3.13 of the Unicode Standard, D146 (compatibility
caseless matching), and the properties Default_Ignorable_Code_Point and Dash of the Unicode Character Database.
"""

import unicodedata

import regex

_INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")
_BLANK = regex.compile(r"[\p{Zs}]")
_DASH = regex.compile(r"[\p{Pd}\u2212\u2043--\u301C\u3030]", regex.V1)
_ALIKE = str.maketrans({"\u2010": "-", "\u2011": "-"})
"""Two hyphens that look like the one of the keyboard."""

_QUOTES = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\u00b4\u1ffd\uff07\u05f3", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u05f4\uff02", '"'),
        **dict.fromkeys("\u301c\u3030", "~"),
    }
)
_DOT_ABOVE = regex.compile(r"i\u0307+")
_DOTLESS_I = str.maketrans({"\u0131": "i"})
"""Turkish: 'HAYIR' and 'hay\u0131r' are one word in two cases; case folding, which knows no language, parts them."""


def canonical_text(text: str) -> str:
    """The text as a reader sees it: NFC, without invisible characters, every blank a space, every line end a newline.

    Case, punctuation and the number of blanks stay.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
        text = _BLANK.sub(" ", text).translate(_ALIKE)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def comparable_text(text: str) -> str:
    """The text as far as it counts where texts are compared; empty where nothing of it does. Idempotent."""
    if text.isascii():
        return " ".join(text.lower().split())
    text = _INVISIBLE.sub("", text).translate(_QUOTES)  # before NFKC, which splits an acute accent off its blank
    text = unicodedata.normalize("NFKC", text)
    text = unicodedata.normalize("NFKC", text.casefold()).translate(_DOTLESS_I)
    text = _DOT_ABOVE.sub("i", text)
    text = _INVISIBLE.sub("", _DASH.sub("-", text.translate(_QUOTES)))  # NFKC brings marks of its own
    return " ".join(unicodedata.normalize("NFC", text).split())
