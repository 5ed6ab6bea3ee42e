"""Content hashes: canonical JSON (sorted keys, UTF-8) through SHA-256."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")


def digest(value: Any) -> str:
    """Hex SHA-256 (64 characters) of a value's canonical JSON."""
    return hashlib.sha256(_encoder.encode(value)).hexdigest()


def digest_each(values: Iterable[Any]) -> str:
    """The digest of the list of these values, which need not be in memory together."""
    found = hashlib.sha256(b"[")
    between = b""
    for value in values:
        found.update(between + _encoder.encode(value))
        between = b","
    found.update(b"]")
    return found.hexdigest()


PIECE = 10_000
"""Elements that are encoded at a time."""


def digest_fields(fields: Mapping[str, Any]) -> str:
    """The digest of a mapping, of whose tuples only a piece is encoded at a time."""
    found = hashlib.sha256()
    for number, name in enumerate(sorted(fields)):
        found.update(b"," if number else b"{")
        found.update(_encoder.encode(name) + b":")
        value = fields[name]
        if not isinstance(value, tuple) or len(value) <= PIECE:
            found.update(_encoder.encode(value))
            continue
        for start in range(0, len(value), PIECE):
            found.update(b"," if start else b"[")
            found.update(_encoder.encode(value[start : start + PIECE])[1:-1])
        found.update(b"]")
    found.update(b"}" if fields else b"{}")
    return found.hexdigest()


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
