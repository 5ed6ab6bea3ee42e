"""Entries of a ZIP file, those compressed by Zstandard too (method 93), which Python's zipfile does not know."""

import struct
import zipfile
from pathlib import Path
from types import TracebackType

from harness.errors import DataError

ZSTANDARD = 93
_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of an entry: the lengths of its name and of its extra field, behind 26 bytes (APPNOTE.TXT, 4.3.7)."""


class ZipEntries:
    """A ZIP file, opened for reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path}: not a readable log ({error}).") from None
        self._entries = {info.filename: info for info in self._zip.infolist()}

    def __enter__(self) -> "ZipEntries":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def names(self) -> list[str]:
        """The names of all entries, in the order of the file."""
        return list(self._entries)

    def read(self, name: str) -> bytes | None:
        """An entry's bytes; None where there is none of this name. Raises UsageError for a damaged one."""
        info = self._entries.get(name)
        if info is None:
            return None
        try:
            return self._zstandard(info) if info.compress_type == ZSTANDARD else self._zip.read(info)
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, struct.error) as error:
            raise DataError(f"{self._path}: its entry {name} is damaged ({error}).") from None

    def _zstandard(self, info: zipfile.ZipInfo) -> bytes:
        try:
            import pyarrow as pa
        except ImportError:
            raise DataError(
                f"{self._path}: reading Zstandard needs pyarrow: python -m pip install pyarrow, or write the log as "
                "JSON (inspect log convert --to json)."
            ) from None
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            file.seek(name + extra, 1)
            raw = file.read(info.compress_size)
        return bytes(pa.decompress(raw, decompressed_size=info.file_size, codec="zstd", asbytes=True))
