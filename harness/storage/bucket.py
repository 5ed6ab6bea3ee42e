"""Object storage by URL (`s3://`, `gs://`, `az://`), through fsspec; every refusal is a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError

SCHEMES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""URL schemes and the packages that speak them."""


class StorageError(UsageError):
    """The storage does not do what is asked of it."""


def is_url(word: str) -> bool:
    """Whether a word names a place in object storage."""
    return word.partition("://")[0] in SCHEMES and "://" in word


@dataclass(frozen=True)
class Bucket:
    """A folder of object storage. All methods raise StorageError."""

    url: str
    _fs: Any
    _root: str

    @classmethod
    def open(cls, url: str) -> "Bucket":
        """The folder a URL names. Nothing is sent yet, no object need be there."""
        scheme, _, place = url.rstrip("/").partition("://")
        if not place.strip("/"):
            raise StorageError(f"{url} names no bucket: say {scheme}://BUCKET/FOLDER.")
        try:
            import fsspec

            fs = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)
        except ImportError:
            raise StorageError(
                f"{url}: {scheme}:// needs the package {SCHEMES[scheme]}: python -m pip install {SCHEMES[scheme]}."
            ) from None
        except Exception as error:  # wrong settings of a profile, ..: each client has its own kinds
            raise StorageError(f"{url} cannot be reached ({reason(error)}).") from None
        return cls(url.rstrip("/"), fs, place)

    def files(self) -> dict[str, int]:
        """Names of all objects below the folder, with their sizes."""
        with self._told("cannot be listed"):
            try:
                found = self._fs.find(self._root, detail=True)
            except FileNotFoundError:
                self._fs.ls(self._root.partition("/")[0])  # an empty folder is no error, a missing bucket is
                return {}
        return {name.removeprefix(f"{self._root}/"): int(info["size"] or 0) for name, info in found.items()}

    def has(self, name: str) -> bool:
        """Whether an object is there."""
        with self._told("cannot be looked at"):
            return bool(self._fs.exists(f"{self._root}/{name}"))

    def put(self, file: Path, name: str) -> None:
        """Copy a local file there."""
        with self._told("cannot be written"):
            self._fs.put_file(str(file), f"{self._root}/{name}")

    def get(self, name: str, file: Path) -> None:
        """Copy an object here, whole or not at all."""
        aside = file.with_name(f".{file.name}.aside")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._told("cannot be read"):
                self._fs.get_file(f"{self._root}/{name}", str(aside))
            aside.replace(file)
        finally:
            aside.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._told("cannot be written"):
            self._fs.rm_file(f"{self._root}/{name}")

    def try_to_write(self) -> None:
        """Write and remove a small object: what may not be written must be known before anything is paid for."""
        name = f"{self._root}/.bench-may-write"
        with self._told("cannot be written"):
            self._fs.pipe_file(name, b"1")
            self._fs.rm_file(name)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # fsspec's clients raise dozens of unrelated types
            raise StorageError(f"{self.url} {what} ({reason(error)}).") from None


def reason(error: BaseException) -> str:
    """What a client's error says, in a line: it names the bucket or the key's id, never a secret."""
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket or object: {_first_line(error)}"
    if isinstance(error, PermissionError):
        return f"access is denied: {_first_line(error)}"
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
