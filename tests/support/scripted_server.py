"""A loopback HTTP server whose answers a test writes itself, byte for byte.

with ScriptedServer(lambda call: Answer.json({"choices": [..]})) as server:
    ...  # talk to server.url (ends in /v1); server.calls is what came
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One request: method, path, the body as JSON (None: it has none), and the headers, names in lower case."""

    method: str
    path: str
    body: Any
    headers: dict[str, str] = {}

    @property
    def prompt(self) -> str:
        """The last message of a chat."""
        return str(self.body["messages"][-1]["content"])


class Answer(NamedTuple):
    """What goes back: the pieces are written one by one, each flushed."""

    status: int
    kind: str
    pieces: tuple[bytes, ...]
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def json(cls, body: Any, status: int = 200, **headers: str) -> "Answer":
        """A JSON body; header names are written with underscores."""
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return cls(status, "application/json", (json.dumps(body).encode(),), named)

    @classmethod
    def text(cls, body: str, status: int = 200, kind: str = "text/html") -> "Answer":
        """Any other body."""
        return cls(status, kind, (body.encode(),))

    @classmethod
    def events(cls, *events: Any, done: bool = True) -> "Answer":
        """Server-sent events: texts go as they are, anything else as JSON."""
        pieces = [b"data: " + (e if isinstance(e, str) else json.dumps(e)).encode() + b"\n\n" for e in events]
        return cls(200, "text/event-stream", (*pieces, *((b"data: [DONE]\n\n",) if done else ())))


def chat(content: Any, finish: Any = "stop", *, choice: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
    """A chat completion as OpenAI writes it; `body` and `choice` put further fields in or others' place."""
    message = content if isinstance(content, dict) else {"role": "assistant", "content": content}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, **(choice or {})}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
        **body,
    }


def error(message: str, status: int = 400, **fields: Any) -> Answer:
    """An error in OpenAI's shape."""
    return Answer.json({"error": {"message": message, "type": "invalid_request_error", **fields}}, status)


class ScriptedServer:
    """Serves chat completions by `answer`, and one model named "m" at /v1/models unless `models` says otherwise."""

    def __init__(
        self, answer: Callable[[Call], Answer], models: Callable[[Call], Answer] | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.calls: list[Call] = []
        self._answer = answer
        self._models = models or (lambda call: Answer.json({"object": "list", "data": [{"id": "m"}]}))
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.command, self.path, json.loads(raw) if raw else None, headers)
                if self.command == "GET":
                    answer = owner._models(call)
                else:
                    owner.calls.append(call)
                    answer = owner._answer(call)
                self.send_response(answer.status)
                self.send_header("content-type", answer.kind)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(sum(map(len, answer.pieces))))
                self.end_headers()
                for piece in answer.pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()

            do_GET = do_POST = _serve  # noqa: N815

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://{host}:{self._server.server_address[1]}/v1"

    @property
    def prompts(self) -> list[str]:
        """What was asked, in order."""
        return [call.prompt for call in self.calls]

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
