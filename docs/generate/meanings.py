"""What each field of a record means, read from the record's docstring.

The house's way of writing it: `name: meaning.` or `name, other: meaning;` at the beginning of a sentence.
"""

import inspect
import re

import msgspec


def fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The fields by the names they have in a file."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def meanings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Field -> meaning, for the fields that the docstring of `kind`, or of a record it extends, explains."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct):
            found |= explained(base.__doc__ or "", list(fields(base)))
    return found


def explained(doc: str, names: list[str]) -> dict[str, str]:
    """Name -> meaning, for the names that a docstring explains."""
    start = _start(names)
    found: dict[str, str] = {}
    for paragraph in paragraphs(doc):
        _, *parts = start.split(paragraph)
        for joined, meaning in zip(parts[::2], parts[1::2], strict=True):
            said = meaning.strip().rstrip(";.")
            found |= dict.fromkeys(joined.split(", "), said)
    return found


def unexplained(doc: str, names: list[str]) -> list[str]:
    """The paragraphs of a docstring without what `explained` takes from them."""
    start = _start(names)
    left = [start.split(paragraph)[0].strip() for paragraph in paragraphs(doc)]
    return [paragraph for paragraph in left if paragraph]


def paragraphs(doc: str) -> list[str]:
    """The paragraphs of a docstring, each on one line."""
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(doc))]


def _start(names: list[str]) -> re.Pattern[str]:
    """Where the meaning of a name begins. Without names: nowhere."""
    either = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"
    return re.compile(rf"(?:^|(?<=[.;)] ))((?:{either})(?:, (?:{either}))*): ")


def purpose(kind: type[msgspec.Struct]) -> str:
    """What a record is: the first paragraph of its docstring, on one line."""
    return paragraphs(kind.__doc__ or "")[0]
