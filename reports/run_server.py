"""The server of `bench view`: the runs of a workspace and their reports, on loopback, for reading only."""

import hmac
import secrets
import tempfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from harness.errors import BenchError, UsageError
from harness.reports.jinja_env import render
from harness.reports.run_overview import overview
from harness.reports.run_page import write_report
from harness.reports.run_state import RunWatch
from harness.runs.run_log import RunLog

HOST = "127.0.0.1"
TIMEOUT_S = 20.0
"""A connection that sends nothing for so long is closed."""

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RunPages:
    """The pages: of all runs, and of one. Reports are written into a folder that goes with the server."""

    def __init__(self, runs: Path, scratch: Path) -> None:
        self._watch = RunWatch(runs)
        self._scratch = scratch
        self._made: dict[Path, tuple[int, Path]] = {}
        self._lock = threading.Lock()  # neither the watch nor matplotlib takes two threads

    def index(self) -> str:
        """All runs."""
        with self._lock:
            return render("view.html.j2", scripts=("view.js",), live=True, **overview(self._watch.look()))

    def report(self, name: str) -> str | None:
        """The report of a run by the name of its folder; None where there is no such run, or it has not ended."""
        with self._lock:
            state = next((s for s in self._watch.look() if s.folder.name == name and s.summary is not None), None)
            if state is None:
                return None
            written = (state.folder / "summary.json").stat().st_mtime_ns
            made = self._made.get(state.folder)
            if made is None or made[0] != written:
                page = self._scratch / f"{len(self._made)}.html" if made is None else made[1]
                self._made[state.folder] = made = written, write_report(RunLog.open(state.folder), page)
            return made[1].read_text("utf-8")


class RunServer(ThreadingHTTPServer):
    """Serves the pages to whoever knows the token; every other address is not found.

    runs: the folder of the runs. port: 0 takes a free one. Raises UsageError where the port is taken.
    """

    daemon_threads = True

    def __init__(self, runs: Path, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(24)
        self._folder = tempfile.TemporaryDirectory(prefix="bench-view-")
        self.pages = RunPages(runs, Path(self._folder.name))
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            self._folder.cleanup()
            raise UsageError(
                f"port {port} on {HOST} cannot be used ({error.strerror}): name another --port, or none."
            ) from None

    @property
    def address(self) -> str:
        """Where the runs are."""
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that a browser may call this server by: a page elsewhere cannot reach it by a name of its own."""
        return tuple(f"{name}:{self.server_address[1]}" for name in (HOST, "localhost"))

    def server_close(self) -> None:
        """Close the socket and remove the reports."""
        super().server_close()
        self._folder.cleanup()

    def page(self, path: str) -> str | None:
        """The page of a path; None where there is none, or its token is wrong."""
        start, token, *rest = [unquote(part) for part in path.partition("?")[0].split("/")]
        if start or not hmac.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return None
        if rest == [""]:
            return self.pages.index()
        return self.pages.report(rest[1]) if rest[:1] == ["run"] and len(rest) == 2 else None


class _Handler(BaseHTTPRequestHandler):
    server: RunServer
    server_version = "bench"
    sys_version = ""
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        """A page, or not found; nothing is ever written."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """The headers of a page."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        status, text = HTTPStatus.OK, ""
        try:
            found = self.server.page(self.path) if self.headers.get("Host") in self.server.hosts else None
            status, text = (HTTPStatus.OK, found) if found is not None else (HTTPStatus.NOT_FOUND, "Not found.\n")
        except (BenchError, OSError) as error:
            status, text = HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}\n"
        data = text.encode()
        kind = "text/html" if status is HTTPStatus.OK else "text/plain"
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": f"{kind}; charset=utf-8", "Content-Length": len(data)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the terminal belongs to the address."""

    def log_error(self, message: str, *args: Any) -> None:  # a connection that was closed early, ..
        """Nothing either."""
