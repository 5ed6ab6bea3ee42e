"""What verbs write for machines: JSON on standard output."""

import sys
from typing import Any

import msgspec


def print_json(value: Any) -> None:
    """Write a value as indented JSON with a line end to standard output, as UTF-8 whatever the terminal's encoding."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()
