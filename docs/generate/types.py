"""Types and defaults in the words of a TOML file."""

import json
import types
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any value"}


def in_words(kind: Any) -> str:
    """A type as a person would say it: `"auto" or "json"`, `list of texts`, `table`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in WORDS:
        return WORDS[kind]
    if origin is Literal:
        return _or([f"`{json.dumps(value)}`" for value in arguments])
    if origin in (Union, types.UnionType):
        return _or([word for part in arguments if part is not type(None) for word in _alternatives(part)])
    if origin in (tuple, list):
        return f"list of {_several(in_words(arguments[0]))}"
    if origin is dict:
        return f"table of {_several(in_words(arguments[1]))}"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"table, see [{kind.__name__}](#{kind.__name__.lower()})"
    return str(kind)


def default_in_words(field: msgspec.structs.FieldInfo) -> str:
    """The default as it would stand in TOML; empty where there is none, "required" where one must be given."""
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None or value in ("", (), [], {}) or isinstance(value, msgspec.Struct):
        return ""
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}`"


def _alternatives(kind: Any) -> list[str]:
    return [f"`{json.dumps(v)}`" for v in get_args(kind)] if get_origin(kind) is Literal else [in_words(kind)]


def _or(words: list[str]) -> str:
    unique = list(dict.fromkeys(words))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} or {unique[-1]}"


def _several(word: str) -> str:
    plural = {"text": "texts", "number": "numbers", "whole number": "whole numbers", "any value": "any values"}
    return plural.get(word, word.replace("table, see", "tables, see"))
