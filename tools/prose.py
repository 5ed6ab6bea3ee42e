"""Check messages, docs, docstrings and comments against a word list: ordinary professional English, no metaphors.

    python tools/prose.py                # all tracked files; exit code 1 with one line per finding
    python tools/prose.py FILE ..        # these files, as pre-commit calls it

Python files are checked in comments and string literals only, other text files whole. A blank in a pattern matches line
ends too. A line that quotes a phrase on purpose ends with `prose: ignore` in a comment.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SUFFIXES = {".py", ".md", ".html", ".jinja", ".j2", ".toml", ".yml", ".yaml", ".js", ".css", ".sh"}
EXCLUDED = (
    "tools/prose.py",
    "tests/test_prose.py",
    "tools/samples/",
    "tasks/data/",
    "docs/schemas/",
    "tests/reports/golden/",
)
IGNORE = "prose: ignore"
WORDS = {
    # metaphors
    r"front doors?": "the command line, an entry point",
    r"(?:this|which) room|rooms and floors": "package, layer",
    r"on a shelf|the shelf|shelves": "record store, spooled records",
    r"purses?": "budget reservation",
    r"house(?:-|s | )keeping|in this house|whole house": "maintenance, this project",
    r"mend(?:s|ed|ing)?": "fix, repair",
    r"learn(?:s|ed|t)? by heart|learned them by heart": "overfitting, memorised",
    r"wears? the words|wearing the words": "uses the words",
    r"speechless": "without output",
    r"stands? godfather": "is named after",
    r"second pass(?:es)? over": "evaluation of",
    # archaic or literal constructions
    r"anew": "again, from scratch",
    r"(?:is|are|was|were|be|been|being) told": "is reported, is given, is printed",
    r"(?:tells?|told) (?:apart|nothing|so)\b": "distinguishes, says nothing, reports it",
    r"what is said of": "what is reported about",
    r"stands? in (?:the|its|their|one|an?|no|every|each|both|front|that|this|it|them)\b": "is in, is part of",
    r"stands? (?:beside|below|above|where|for itself|there|behind|between|on|at|under|by)\b": "is next to, is below",
    r"stands? in place of": "replaces",
    r"as (?:it|they) stands?": "unchanged, as is",
    r"what (?:there )?stands": "what is",
    r"cannot be told apart": "no significant difference",
    r"(?:in|leaves?|out of) (?:no|every|the) denominators?": "excluded from the rates",
    r"resolves? differences": "can detect differences of at least",
    r"worth (?:about )?(?:\S+ )?(?:answers|rows)\b": "effective sample size",
    r"faults? of (?:bench|the program)": "an internal error, a bug",
    r"is no longer here|is not here|are not here": "is not available",
    r"a person (?:can|could|who|may|must|has|is|means)": "the user",
    r"people's (?:own )?(?:care|affair)": "the user's responsibility",
    r"(?:own|person's) (?:affair|care)\b": "its responsibility",
    r"commonest": "most frequent",
    r"dear(?:er|est)?(?= (?:rows?|answers?|model|backend|than))|\bdearest": "expensive, most expensive",
    r"so many (?=[a-z]+ (?:hold|stand|are|may))": "this many, N",
    r"in vain": "without effect",
    r"hereabouts|thereof|whereof|therein|thereupon|whereupon|hither": "(modern wording)",
    r"of an other|an other": "another",
    r"made no number|became no number": "became NaN",
    r"scores? that are no numbers": "non-finite scores",
    r"(?:hands?|handed) (?:over|out) again": "is sent again, is returned again",
    r"lays? (?:rows|them|it|requests)": "writes, stores",
    r"goes away|went away": "disconnects, is closed",
    r"by its (?:very )?name only": "by name",
    r"somebody": "someone, another process",
    r"pictures?(?= of a run|, tests)": "charts",
    r"longer gradients": "gradient clipping norm",
    r"(?:tokens )?\d[\d,]* reading, \d[\d,]* writing": "tokens for prefill and decode",
}
"""Pattern (lower case) to what to write instead; matched without regard to case, at word boundaries."""

_RULES = [
    (re.compile(rf"\b(?:{pattern})\b".replace(" ", r"\s+"), re.IGNORECASE), new) for pattern, new in WORDS.items()
]
_ANY = re.compile(rf"\b(?:{'|'.join(WORDS)})\b".replace(" ", r"\s+"))
_STRINGS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


class Finding(NamedTuple):
    """A phrase of the list: its line (from 1), the words found, and what to write instead."""

    line: int
    phrase: str
    instead: str


def prose(text: str, suffix: str) -> Iterator[tuple[int, str]]:
    """(first line, text) of the parts of a file that people read."""
    if suffix != ".py":
        yield 1, text
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _STRINGS:
            yield token.start[0], token.string


def findings(text: str, suffix: str = ".md") -> list[Finding]:
    """Every phrase of the list in a file's prose, in the order of lines."""
    if not _ANY.search(text.lower()):
        return []
    lines = text.splitlines()
    found = []
    for first, part in prose(text, suffix):
        for rule, instead in _RULES:
            for match in rule.finditer(part):
                line = first + part.count("\n", 0, match.start())
                if IGNORE not in lines[line - 1]:
                    found.append(Finding(line, " ".join(match[0].split()), instead))
    return sorted(found)


def tracked() -> list[str]:
    """The text files of the repository that are checked."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def checked(name: str) -> bool:
    """Whether a path, relative to the repository, holds prose of ours."""
    return Path(name).suffix in SUFFIXES and not name.startswith(EXCLUDED)


def main(names: list[str]) -> int:
    """Print the findings of some files, or of all; 1 where there are any."""
    total = 0
    for name in filter(checked, names or tracked()):
        for line, phrase, instead in findings((ROOT / name).read_text("utf-8"), Path(name).suffix):
            print(f"{name}:{line}: '{phrase}'; write instead: {instead}")
            total += 1
    return min(total, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
