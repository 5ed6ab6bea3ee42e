"""Writing files so that a kill at any moment leaves either the old content or the new, and two writers lose nothing."""

import codecs
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from harness.errors import UsageError

T = TypeVar("T")


def read_text(path: Path) -> str:
    """A text file as editors save it: UTF-8 or UTF-16, with or without a byte order mark.

    Raises OSError, or UnicodeDecodeError for other bytes.
    """
    raw = path.read_bytes()
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n")


def read_record(path: Path, kind: type[T], what: str, advice: str = "") -> T:
    """A JSON file as a value of type `kind`.

    what: what the file should be ("adapter manifest"), for the sentence; advice: a clause on what to do, after a colon.
    Raises UsageError for content that does not decode, and OSError where the file cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        end = f": {advice}" if advice else ""
        raise UsageError(f"{path} is not a readable {what} ({error}){end}.") from None


def write_whole(path: Path, *parts: bytes) -> None:
    """Write a file whole or not at all: aside first, then renamed into place. Creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(value), indent=2), b"\n")


def lock(file: BinaryIO, held: str, *, wait: bool = False) -> None:
    """Hold a file until it is closed. Where another process holds it: wait for it, or raise UsageError that begins
    with the clause `held`."""
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks; concurrent writers are then not detected
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        raise UsageError(f"{held}: wait for it, or end it.") from None
