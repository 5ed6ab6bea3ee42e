"""Lines of text files: compressed or not, UTF-8 or UTF-16, with or without a byte order mark."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from harness.errors import DataError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Endings of compressed files, as in rows.jsonl.gz."""

_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"

_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer ones first: that of UTF-32 begins with that of UTF-16."""

AROUND = 12
"""Characters shown on each side of a byte that is not UTF-8."""


def format_suffix(path: Path) -> str:
    """The ending that names a file's format, in small letters: `.csv` of rows.CSV.gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed where it begins as a compressed file does, whatever its name.

    Raises UsageError where it is compressed and damaged, or where a library is missing.
    """
    with path.open("rb") as handle:
        try:
            with _decompressed(handle, path) as plain:
                yield plain
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
            raise DataError(f"{path}: the compressed file is damaged ({error}).") from None


def _decompressed(handle: io.BufferedReader, path: Path) -> BinaryIO:
    head = handle.peek(6)[:6]
    if head.startswith(_GZIP):
        return cast(BinaryIO, gzip.open(handle))
    if head.startswith(_BZIP2):
        return cast(BinaryIO, bz2.open(handle))
    if head.startswith(_XZ):
        return cast(BinaryIO, lzma.open(handle))
    if head.startswith(_ZSTD):
        return cast(BinaryIO, io.BufferedReader(_zstandard(handle, path)))
    return handle


def _zstandard(handle: BinaryIO, path: Path) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise DataError(
            f"{path}: reading Zstandard needs pyarrow: python -m pip install pyarrow, or decompress it (unzstd)."
        ) from None
    return pa.CompressedInputStream(pa.PythonFile(handle, mode="r"), "zstd")


def first_bytes(path: Path, count: int = 4096) -> bytes:
    """The beginning of a file, decompressed."""
    with open_bytes(path) as handle:
        return handle.read(count)


def text_lines(path: Path, encoding: str | None = None) -> Iterator[str]:
    """Lines with their ends kept; a byte order mark is dropped; bytes that are not UTF-8 are named by line.

    encoding: of the file, where it is known to be another.
    """
    with open_bytes(path) as handle:
        buffered = io.BufferedReader(cast(Any, handle)) if not hasattr(handle, "peek") else cast(Any, handle)
        wide = encoding or _wide_encoding(buffered.peek(4)[:4])
        if wide is not None:
            with io.TextIOWrapper(buffered, wide, newline="\n") as lines:
                yield from _decoded(lines, path)
            return
        for number, raw in enumerate(buffered, 1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}:{number}: {_not_utf8(raw, error.start)}.") from None


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by mark; UTF-16 without a mark by the zero in a first character that is ASCII."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if len(head) == 4 and head[1] == head[3] == 0 and head[0] and head[2]:
        return "utf-16-le"
    return "utf-16-be" if len(head) == 4 and head[0] == head[2] == 0 and head[1] and head[3] else None


def _decoded(lines: io.TextIOWrapper, path: Path) -> Iterator[str]:
    number = 0
    try:
        for line in lines:
            number += 1
            yield line
    except UnicodeError:
        raise DataError(f"{path}:{number + 1}: not {lines.encoding}, as the file begins or as it was named.") from None


def _not_utf8(raw: bytes, at: int) -> str:
    """The text around a byte that is not UTF-8, as Windows writes text in western Europe, and what to do."""
    shown = raw.decode("cp1252", "replace")[max(0, at - AROUND) : at + AROUND].strip()
    return (
        f"byte {at} is not UTF-8 (read as Windows-1252 it says '{shown}'); convert the file with "
        "iconv -f WINDOWS-1252 -t UTF-8, or save it as 'CSV UTF-8'"
    )
