"""Writing files so that a kill at any moment leaves either the old content or the new."""

import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: aside first, then renamed into place. Creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
