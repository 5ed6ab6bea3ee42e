"""What of a text counts where texts are compared: neither its case, nor its white space, nor which form of Unicode."""

import unicodedata


def plain(text: str) -> str:
    """The text as far as it counts; empty where nothing of it does."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
