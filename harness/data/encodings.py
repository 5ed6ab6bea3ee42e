"""The encoding of a text file that is not Unicode: found by its bytes, or named by the user."""

import codecs
import re
from pathlib import Path

from harness.data.text_lines import open_bytes
from harness.errors import DataError

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
