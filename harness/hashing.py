"""Content hashes: canonical JSON (sorted keys, UTF-8) through SHA-256."""

import hashlib
from collections.abc import Iterable
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


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
