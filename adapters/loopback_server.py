"""A small OpenAI-compatible server: TF-IDF and logistic regression, fitted on a task's training prompts.

    python -m harness.adapters.loopback_server --task agnews --data embedded     # prints its address

The quickstart asks it as one candidate through the real client, over real HTTP, as any compatible server. It
part of this package because it is trained: on training rows alone; of an evaluated row it sees the prompt that
every candidate gets. It runs in its own process, so that neither side's work slows the other's clock.
"""

import argparse
import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from harness.data.rows import DataSource
from harness.errors import BenchError
from harness.task_loading import build_request, load_rows, load_task

MODEL = "tfidf-logreg"


def fit(task_name: str, location: str | None) -> Any:
    """A classifier from prompts to targets, fitted on the training split (the recipe of the classical baseline)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    task = load_task(task_name)
    samples = load_rows(task, DataSource(location=location, split="train"))
    prompts = ["\n".join(m.content for m in build_request(task, s).messages) for s in samples]
    classifier = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10, max_iter=1000))
    return classifier.fit(prompts, [task.target(s) for s in samples])


def make_server(classifier: Any) -> ThreadingHTTPServer:
    """A server on a free port of the loopback interface, not yet serving."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes; unmended, each answer waits 40 ms

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/v1/chat/completions":
                self._send(404, {"error": {"message": f"no such path: {self.path}", "type": "invalid_request_error"}})
                return
            try:
                asked = msgspec.json.decode(body)
                prompt = "\n".join(str(m["content"]) for m in asked["messages"])
            except (msgspec.DecodeError, KeyError, TypeError) as error:
                self._send(400, {"error": {"message": f"not a chat request: {error}", "type": "invalid_request_error"}})
                return
            found = answer(classifier, prompt)
            if asked.get("stream"):
                events = b"".join(b"data: " + msgspec.json.encode(c) + b"\n\n" for c in chunks(found))
                self._write(200, "text/event-stream", events + b"data: [DONE]\n\n")
            else:
                self._send(200, found)

        def _send(self, status: int, content: dict[str, Any]) -> None:
            self._write(status, "application/json", msgspec.json.encode(content))

        def _write(self, status: int, kind: str, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (named by the base class)
            """Say nothing: the run has its own log."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def answer(classifier: Any, prompt: str) -> dict[str, Any]:
    """One chat completion; tokens are counted in words."""
    text = str(classifier.predict([prompt])[0])
    used = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
    return {
        "id": "loopback",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {**used, "total_tokens": sum(used.values())},
    }


def chunks(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """The same completion as a stream: the text, the end, the usage."""
    common = {**{k: whole[k] for k in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    delta = {"role": "assistant", "content": whole["choices"][0]["message"]["content"]}
    return [
        {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**common, "choices": [], "usage": whole["usage"]},
    ]


class Loopback:
    """The server in a process of its own; it fits while its caller does something else."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def url(self) -> str:
        """The base URL, once the server answers. Raises BenchError where it could not start."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line.startswith("http"):
            raise BenchError("the loopback server could not start; see the lines above.")
        return line


@contextlib.contextmanager
def loopback(task: str, location: str) -> Iterator[Loopback]:
    """Start the server; it ends with the block."""
    command = [sys.executable, "-m", "harness.adapters.loopback_server", "--task", task, "--data", location]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Loopback(process)
        finally:
            process.terminate()


def main() -> None:
    """Fit, print the address, serve until standard input closes: a parent that was killed leaves no server behind."""
    parser = argparse.ArgumentParser(description="Serve a TF-IDF classifier as an OpenAI-compatible endpoint.")
    parser.add_argument("--task", required=True)
    parser.add_argument("--data")
    args = parser.parse_args()
    server = make_server(fit(args.task, args.data))

    def end_with_parent() -> None:
        sys.stdin.read()
        server.shutdown()

    threading.Thread(target=end_with_parent, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    with contextlib.suppress(KeyboardInterrupt):  # a Ctrl-C reaches both processes; the parent says what it means
        server.serve_forever()


if __name__ == "__main__":
    main()
