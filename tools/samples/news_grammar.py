"""The grammar behind the embedded news sample: phrases and names in TOML, dealt out to pools that share none.

A pool is "train", "base" (pretraining of the tiny model) or "test". Every third phrase of a list belongs to
"test" alone; names are dealt out to the three pools in turn. Common words (weekdays, goods) are shared.
"""

import random
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Pool = Literal["train", "base", "test"]

FOLDER = Path(__file__).parent / "grammar"
FILES = {"World": "world", "Sports": "sports", "Business": "business", "Sci/Tech": "scitech"}

_POOLS: tuple[Pool, ...] = ("train", "base", "test")
_SLOT = re.compile(r"\{(\w+?)(\d?)(?::(\d+)-(\d+))?\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIO])(?!uni|Eur|one|use)")
_CHOICE = re.compile(r"\(([^()|]*(?:\|[^()|]*)+)\)")


@dataclass(frozen=True)
class Story:
    """One kind of news: phrases of one pool. `hard` stories wear the words of another topic."""

    kind: str
    hard: bool
    titles: tuple[str, ...]
    leads: tuple[str, ...]
    tails: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """The stories and the general closing sentences of one label, as one pool sees them."""

    plain: tuple[Story, ...]
    hard: tuple[Story, ...]
    tails: tuple[str, ...]


@cache
def _file(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))


def phrases(items: list[str], pool: Pool) -> tuple[str, ...]:
    """The phrases of a list that a pool may use: every third is kept for evaluation."""
    return tuple(phrase for n, phrase in enumerate(items) if (n % 3 == 2) == (pool == "test"))


def names(kind: str, pool: Pool) -> list[str]:
    """The entries of a list of names that a pool may use."""
    table = _file("names")
    if kind in table["shared"]:
        shared: list[str] = table["shared"][kind]
        return shared
    dealt: list[str] = table["dealt"][kind]
    return dealt[_POOLS.index(pool) :: 3]


@cache
def topic(label: str, pool: Pool) -> Topic:
    """What one pool may say under a label."""
    table = _file(FILES[label])
    stories = [
        Story(s["kind"], s.get("hard", False), *(phrases(s[part], pool) for part in ("titles", "leads", "tails")))
        for s in table["story"]
    ]
    return Topic(
        plain=tuple(s for s in stories if not s.hard),
        hard=tuple(s for s in stories if s.hard),
        tails=phrases(table["tails"], pool) + phrases(_file("names")["neutral"]["tails"], pool),
    )


def lexicon() -> dict[str, Any]:
    """Free sentences ("frames", "titles") and the words of each label's field, for pretraining."""
    return _file("lexicon")


class Writer:
    """Fills the slots of phrases for one item: the same slot is the same name throughout the item.

    words: lists of words beside those of the pool.
    """

    def __init__(self, rng: random.Random, pool: Pool, words: dict[str, list[str]] | None = None) -> None:
        self._rng = rng
        self._pool: Pool = pool
        self._words = words or {}
        self._filled: dict[str, str] = {}

    def fill(self, phrase: str) -> str:
        """A phrase with choices made and slots filled, its first letter a capital."""
        phrase = _CHOICE.sub(lambda m: self._rng.choice(m[1].split("|")), phrase)
        text = _ARTICLE.sub(r"\1n ", _SLOT.sub(self._slot, phrase))
        return text[0].upper() + text[1:]

    def _slot(self, match: re.Match[str]) -> str:
        kind, digit, low, high = match.groups()
        if kind == "n":
            return str(self._rng.randint(int(low), int(high)))
        if kind in ("pct", "million", "billion", "cents"):
            return self._amount(kind)
        if kind == "last":
            return self._named("person", digit).rpartition(" ")[2]
        return self._named(kind, digit)

    def _named(self, kind: str, digit: str) -> str:
        key = kind + digit
        while key not in self._filled:
            name = self._make(kind)
            if name not in self._filled.values():
                self._filled[key] = name
        return self._filled[key]

    def _make(self, kind: str) -> str:
        two = {
            "city": ("town", "town_ends", ""),
            "country": ("land", "land_ends", ""),
            "region": ("land", "region_ends", " "),
            "company": ("brand", "brand_ends", " "),
        }
        if kind in two:
            stem, end, between = two[kind]
            return f"{self._pick(stem)}{between}{self._pick(end)}"
        if kind == "person":
            return f"{self._pick('given')} {self._pick('family')}{self._pick('family_ends')}"
        if kind == "team":
            return f"{self._make('city')} {self._pick('team_ends')}"
        return self._pick(kind)

    def _pick(self, kind: str) -> str:
        return self._rng.choice(self._words.get(kind) or names(kind, self._pool))

    def _amount(self, kind: str) -> str:
        if kind == "pct":
            return f"{self._rng.randint(0, 9)}.{self._rng.randint(1, 9)} percent"
        if kind == "million":
            return f"${self._rng.randint(2, 99) * 10} million"
        if kind == "billion":
            return f"${self._rng.randint(1, 18)}.{self._rng.randint(1, 9)} billion"
        return str(self._rng.randint(11, 98))
