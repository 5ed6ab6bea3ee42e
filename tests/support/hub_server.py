"""A Hub on loopback: the few endpoints that making a repository and committing to it ask, for the real client."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_a_token_that_must_not_be_seen"


@dataclass
class Hub:
    """What the server holds: repositories (private or not), their files, the bodies of large files, and its mood."""

    url: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    """Part of a path -> status with which requests to it are refused."""


class Handler(BaseHTTPRequestHandler):
    """One request; the tokens it accepts are TOKEN alone."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """Who am I, and what is this repository."""
        if self._refused():
            return
        repo = self.path.removeprefix("/api/models/")
        if repo in self.hub.private:
            self._say(200, {"id": repo, "private": self.hub.private[repo], "sha": "0" * 40, "siblings": []})
        else:
            self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def do_PUT(self) -> None:
        """The body of a large file, at the address that the batch endpoint gave."""
        self.hub.large[self.path.rsplit("/", 1)[-1]] = self._body()
        self._say(200, {})

    def do_POST(self) -> None:
        """Make a repository, look at a card, say how files are sent, take a commit."""
        body = self._body()
        if self._refused():
            return
        if self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._say(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [f["path"] for f in json.loads(body)["files"]]
            modes = {n: "lfs" if n.endswith(".safetensors") else "regular" for n in names}
            self._say(200, {"files": [{"path": n, "uploadMode": modes[n], "shouldIgnore": False} for n in names]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.hub.url}/large/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            self._say(200, {"transfer": "basic", "objects": objects})
        else:
            self._commit(body)

    def _create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted['organization']}/{wanted['name']}"
        if repo in self.hub.private:
            self._say(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{repo}"})
            return
        self.hub.private[repo] = wanted.get("visibility") == "private" or wanted.get("private") is True
        self.hub.files[repo] = {}
        self._say(200, {"url": f"{self.hub.url}/{repo}", "name": repo})

    def _commit(self, body: bytes) -> None:
        repo = self.path.removeprefix("/api/models/").split("/commit/")[0]
        for line in body.splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "header":
                self.hub.commits.append(value["summary"])
            elif part["key"] == "file":
                self.hub.files[repo][value["path"]] = base64.b64decode(value["content"])
            elif part["key"] == "lfsFile":
                self.hub.files[repo][value["path"]] = self.hub.large[value["oid"]]
        oid = f"{len(self.hub.commits):040d}"
        self._say(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid})

    def _refused(self) -> bool:
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._say(401, {"error": "Invalid username or password."})
            return True
        status = next((code for part, code in self.hub.refuse.items() if part in self.path), None)
        if status is not None:
            self._say(status, {"error": "no"})
        return status is not None

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _say(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "content-type": "application/json",
            "content-length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A Hub for the length of a block."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
