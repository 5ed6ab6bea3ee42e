"""Which servers a backend has: as given, from a file, or from DNS; the last two are read again while a run goes on."""

import socket
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from harness.api.settings import OpenAISettings, check_url
from harness.errors import UsageError
from harness.files import read_text


class Source(Protocol):
    """Where the list of servers comes from."""

    def read(self) -> tuple[str, ...] | None:
        """The servers' URLs now, each once; None where nothing has changed since. Raises UsageError."""
        ...


class Given:
    """The servers that the settings name."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls: tuple[str, ...] | None = urls

    def read(self) -> tuple[str, ...] | None:
        """All of them, once."""
        urls, self._urls = self._urls, None
        return urls


class ServerFile:
    """A file with one URL a line; `#` begins a comment. Read again when its time or size changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None

    def read(self) -> tuple[str, ...] | None:
        """Raises UsageError with file and line for what is no URL, and for a file without any."""
        try:
            stat = self.path.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._seen:
                return None
            text = read_text(self.path)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"base_url_file {self.path} cannot be read ({why}).") from None
        self._seen = (stat.st_mtime_ns, stat.st_size)
        found: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            url = line.partition("#")[0].strip().rstrip("/")
            if not url:
                continue
            check_url(url, f"{self.path}:{number}")
            if url in found:
                raise UsageError(f"{self.path}:{number}: {url} stands in line {found[url]} already.")
            found[url] = number
        if not found:
            raise UsageError(f"{self.path} names no server: write one URL a line, like http://gpu1:8000/v1.")
        return tuple(found)


class Addresses:
    """Every address that a host name has in DNS: a headless service of Kubernetes, a round-robin name."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._last: tuple[str, ...] | None = None

    def read(self) -> tuple[str, ...] | None:
        """Raises UsageError for a name that DNS does not know."""
        parts = urlsplit(self.url)
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UsageError(f"base_url {self.url}: its host has no address ({error.strerror or error}).") from None
        hosts = sorted({str(entry[4][0]) for entry in found})
        netlocs = [f"[{host}]" if ":" in host else host for host in hosts]
        port = f":{parts.port}" if parts.port else ""
        urls = tuple(urlunsplit(parts._replace(netloc=f"{netloc}{port}")) for netloc in netlocs)
        if urls == self._last:
            return None
        self._last = urls
        return urls


def source_of(settings: OpenAISettings) -> Source:
    """The source that the settings name."""
    if settings.base_url_file is not None:
        return ServerFile(Path(settings.base_url_file).expanduser())
    if settings.base_url_dns:
        return Addresses(settings.urls[0])
    return Given(settings.urls)
