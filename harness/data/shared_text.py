"""What many texts begin and end with alike: the words of a prompt around the rows' own texts."""

from collections.abc import Iterable


class SharedText:
    """The beginning and the end that all texts seen so far share, and how many different texts that were (two at most
    are kept in memory)."""

    def __init__(self) -> None:
        self._before: str | None = None
        self._after = ""
        self._first = ""
        self._shortest = 0
        self.several = False

    def add(self, text: str) -> None:
        """Take a text into account."""
        if self._before is None:
            self._before = self._after = self._first = text
            self._shortest = len(text)
            return
        self._shortest = min(self._shortest, len(text))
        self.several = self.several or text != self._first
        if not text.startswith(self._before):
            self._before = self._before[: _same(self._before, text)]
        if not text.endswith(self._after):
            same = _same(self._after[::-1], text[::-1])
            self._after = self._after[len(self._after) - same :]

    def around(self) -> tuple[str, str]:
        """Beginning and end in whole words, so that every text keeps something of its own; nothing of a single text."""
        if not self.several or self._before is None:
            return "", ""
        before, after = _whole_words(self._before), _whole_words(self._after[::-1])[::-1]
        if len(before) + len(after) < self._shortest:
            return before, after
        return (before, "") if len(before) < self._shortest else ("", "")


def without_shared(texts: Iterable[str], around: tuple[str, str]) -> Iterable[str]:
    """Each text without what is around it in all of them."""
    before, after = around
    for text in texts:
        end = len(text) - len(after)
        yield text[len(before) : end].strip() if end > len(before) else text


def _same(a: str, b: str) -> int:
    """How many characters two texts share at their beginning; by halving, as most texts share much or nothing."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _whole_words(beginning: str) -> str:
    """Up to the last white space, so that no row's own first word is cut."""
    while beginning and not beginning[-1].isspace():
        beginning = beginning[:-1]
    return beginning
