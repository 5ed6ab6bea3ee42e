"""A record as a Markdown table: field, type, default, meaning."""

import msgspec

from docs.generate.meanings import fields, meanings
from docs.generate.types import default_in_words, in_words


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a bar inside a cell would end it and is written out."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "&#124;") for cell in line) + " |" for line in lines)


def record_table(kind: type[msgspec.Struct], hidden: tuple[str, ...] = ()) -> str:
    """The fields of a record, `hidden` ones left out."""
    said = meanings(kind)
    rows = [
        [f"`{name}`", in_words(field.type), default_in_words(field), said.get(name, "")]
        for name, field in fields(kind).items()
        if name not in hidden
    ]
    return table(["key", "value", "default", "meaning"], rows)


def inner_records(kind: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The records that stand inside the fields of `kind`, at any depth, each once, in order."""
    found: list[type[msgspec.Struct]] = []

    def look(one: object) -> None:
        if isinstance(one, type) and issubclass(one, msgspec.Struct) and one not in found:
            found.append(one)
            for field in fields(one).values():
                look(field.type)
        for part in getattr(one, "__args__", ()):
            look(part)

    look(kind)
    return found[1:]


def record_sections(kind: type[msgspec.Struct], level: str = "###") -> str:
    """A section for every record inside `kind`."""
    return "\n\n".join(f"{level} {inner.__name__}\n\n{record_table(inner)}" for inner in inner_records(kind))
