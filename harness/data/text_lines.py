"""Lines of text files: compressed or not, Unicode or an encoding that is found or named."""

import bz2
import codecs
import gzip
import io
import lzma
import re
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


SAMPLE = 256 * 1024
"""Bytes of lines with other than ASCII that are looked at."""

AT_ONCE = 1 << 20
ENOUGH = 64
"""With fewer bytes beyond ASCII, statistics of letters say nothing; where they stand does."""

WESTERN = "windows-1252"
TRUSTED = (
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "koi8_u", "cp932",
    "shift_jis", "euc_jp", "gb18030", "gbk", "gb2312", "big5", "euc_kr", "cp949", "iso8859_2",
)  # fmt: skip
"""Encodings that spreadsheets and older programs write."""

_AMONG_ASCII = re.compile(rb"(?<![\x80-\xff])[\x80-\xff]{1,2}(?![\x80-\xff])")
_USUAL = frozenset("–—‘’‚“”„…€£§°«»©®·½¼¿¡×")
"""Characters beside letters that western texts hold."""

_BEYOND = re.compile(rb"[\x80-\xff]")


def find_encoding(path: Path) -> str | None:
    """How a file's text is encoded where it is neither UTF-8 nor marked as UTF-16 or UTF-32; None where it is.

    Raises DataError where its bytes fit no usual encoding.
    """
    with open_bytes(path) as handle:
        head = handle.read(4)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) or b"\0" in head:
            return None
        decoder, sample, valid = codecs.getincrementaldecoder("utf-8")(), bytearray(), True
        rest = b""
        for chunk in iter(lambda: handle.read(AT_ONCE), b""):
            block = head + chunk
            head = b""
            valid = valid and _decodes(decoder, block)
            lines = (rest + block).split(b"\n")
            rest = lines.pop()[:SAMPLE]
            if len(sample) < SAMPLE:
                sample += b"\n".join(line for line in lines if not line.isascii())
        valid = valid and _decodes(decoder, head, final=True)
        sample += b"\n" + head + rest
    return None if valid else _named(bytes(sample[:SAMPLE]), path)


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _named(sample: bytes, path: Path) -> str:
    beyond = len(_BEYOND.findall(sample))
    alone = sum(map(len, _AMONG_ASCII.findall(sample)))
    among_ascii = alone > 0.6 * beyond  # letters with an accent within words of plain letters
    if among_ascii and beyond < ENOUGH:
        if _is_western(sample):
            return WESTERN
    else:
        from charset_normalizer import from_bytes  # takes longer to load than most files to read

        best = from_bytes(sample, cp_isolation=list(TRUSTED)).best()
        if best is not None:
            western = among_ascii and "cp1252" in (best.encoding, *best.could_be_from_charset)
            return WESTERN if western else best.encoding
    raise DataError(
        f"{path}: it is not UTF-8, and its encoding cannot be detected; name it with `encoding` in the task file or "
        "--encoding (windows-1252, shift_jis, gb18030, ..), or save the file as 'CSV UTF-8'."
    )


def _is_western(sample: bytes) -> bool:
    """Whether all characters are such as western texts have."""
    try:
        text = sample.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    return all(c.isascii() or c in _USUAL or ("\xc0" <= c <= "\xff" and c.isalpha()) for c in text)


def known_encoding(name: str, place: str) -> str:
    """The name as Python knows it. Raises DataError for one that is no encoding of text."""
    try:
        info = codecs.lookup(name)
        "a".encode(name)
    except (LookupError, UnicodeError):
        raise DataError(f"{place}: '{name}' is no encoding of text (windows-1252, utf-16, shift_jis, ..).") from None
    return info.name
