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
    """Field -> meaning, for the fields that the docstring of `kind` explains."""
    names = "|".join(sorted(map(re.escape, fields(kind)), key=len, reverse=True))
    if not names:
        return {}
    start = re.compile(rf"(?:^|(?<=[.;)] ))((?:{names})(?:, (?:{names}))*): ")
    found = {}
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(kind.__doc__ or "")):
        text = " ".join(paragraph.split())
        _, *parts = start.split(text)
        for joined, meaning in zip(parts[::2], parts[1::2], strict=True):
            said = meaning.strip().rstrip(";.")
            found |= dict.fromkeys(joined.split(", "), said)
    return found


def purpose(kind: type[msgspec.Struct]) -> str:
    """What a record is: the first paragraph of its docstring, on one line."""
    return " ".join(re.split(r"\n\s*\n", inspect.cleandoc(kind.__doc__ or ""))[0].split())
