"""A loopback OpenAI-compatible server in a process of its own, with limits and faults made to order.

    with OpenAIServer(ServerConfig(delay_s=0.05, rpm=1200)) as server:
        ...  # talk to server.url (ends in /v1)
        server.stats().requests

The process ends with the `with` block, and also when the process that started it dies (its standard input closes).
"""

import hashlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import msgspec

from tests.support.processes import ROOT

FAULTS = (
    "400", "401", "403", "404", "408", "409", "500", "502", "503",  # with an OpenAI error body
    "429", "overload", "insufficient_quota",  # rate_limit_exceeded, an overloaded engine, no money
    "context_length", "unsupported_value", "content_filter_400", "invalid_prompt",  # 400s about the row or the request
    "content_filter", "refusal", "length", "null_content", "surrogate",  # whole answers that are no labels
    "bad_json", "html", "empty_choices", "no_usage", "null_counts", "remaining_zero",  # 200s with something odd
    "event_error", "event_garbage",  # streams with an event that is an error, or no JSON
    "cut", "reset", "stall",  # broken transport
)  # fmt: skip
"""Words for `ServerConfig.script`, `.faults` and `.when`; "ok" answers as usual."""


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the server does.

    delay_s: before each answer. rpm, tpm: enforced by token buckets that hold `burst_s` seconds' worth;
    tpm counts prompt tokens (bytes / 4) + max_tokens. headers: whether x-ratelimit-* are sent.
    retry_after: sent with 429 and overload. answers: one is chosen by a hash of the prompt; none: the last
    user message comes back. script: faults of the first requests, in order. faults: share of each fault,
    drawn by (seed, prompt, attempt). when: substring of the prompt -> fault. stall_s: how long a stall
    lasts. cached_share: part of the prompt tokens reported as cached. logprobs: answer `logprobs` requests.
    key: if set, any other bearer token gets 401. models: id -> shutdown date for /v1/models (and 404 for
    others, where given). batch_s: how long a batch takes; batch_expire: share of its rows that expire;
    batch_odd: its first line is torn and its second a refusal whose error is a bare text.
    tune_s, tune_steps: of a fine-tuning job (negative: it never ends); tune_fail: it fails with this sentence;
    tune_hold: the first "upload" or "create" is answered only after stall_s; tune_refuse: a fault for every job call;
    tune_lose: the first upload and the first new job are made and answered with a 503;
    tune_metadata: jobs keep theirs; tunable: models that may be tuned (none: all).
    """

    delay_s: float = 0.0
    rpm: float | None = None
    tpm: float | None = None
    burst_s: float = 1.0
    headers: bool = True
    retry_after: str | None = None
    answers: tuple[str, ...] = ("World", "Sports", "Business", "Sci/Tech")
    script: tuple[str, ...] = ()
    faults: dict[str, float] = {}
    when: dict[str, str] = {}
    seed: int = 0
    stall_s: float = 10.0
    cached_share: float = 0.0
    logprobs: bool = True
    key: str | None = None
    models: dict[str, str | None] = {}
    batch_s: float = 0.2
    batch_expire: float = 0.0
    batch_odd: bool = False
    tune_s: float = 0.5
    tune_steps: int = 30
    tune_fail: str = ""
    tune_hold: str = ""
    tune_refuse: str = ""
    tune_lose: bool = False
    tune_metadata: bool = True
    tunable: tuple[str, ...] = ()


class ServerStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the server saw. `by_prompt` and `answered_by_prompt` count per `prompt_key`.

    requests: chat requests, refused ones too; answered: whole 200 answers handed to the socket;
    refused: answered 429 by a limit or a fault; the tokens are those of answered requests; last_bodies,
    last_headers: of the latest chat requests (authorization left out, `authorized` says whether it came).
    uploads: names of the files for fine-tuning; jobs: what its jobs were made with.
    """

    requests: int = 0
    answered: int = 0
    refused: int = 0
    by_fault: dict[str, int] = {}
    by_prompt: dict[str, int] = {}
    answered_by_prompt: dict[str, int] = {}
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    max_in_flight: int = 0
    connections: int = 0
    last_bodies: list[dict[str, Any]] = []
    last_headers: list[dict[str, str]] = []
    batches: int = 0
    uploads: list[str] = []
    jobs: list[dict[str, Any]] = []
    seconds_between_first_and_last: float = 0.0


def prompt_key(messages: Iterable[Mapping[str, Any]]) -> str:
    """How `ServerStats` names a prompt: a hash of roles and contents."""
    text = "\0".join(f"{m['role']}\0{m['content']}" for m in messages)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class OpenAIServer:
    """The server as a context manager. `url` ends in /v1; port 0 takes a free one."""

    def __init__(self, config: ServerConfig | None = None, *, port: int = 0, host: str = "127.0.0.1") -> None:
        self.config = config or ServerConfig()
        self.port = port
        self.host = host
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The base URL a client is given."""
        return f"http://{self.host}:{self.port}/v1"

    def start(self) -> "OpenAIServer":
        """Start the process and wait until it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.serve", str(self.port), self.host],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(self.config) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the test server did not start (exit {self._process.wait(10)})")
        self.port = int(line)
        return self

    def stop(self) -> None:
        """End the process; the port is kept for a later `start`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def stats(self) -> ServerStats:
        """What the server has seen since its start or the last `reset`."""
        return msgspec.json.decode(self._call("/_stats"), type=ServerStats)

    def reset(self, config: ServerConfig | None = None) -> None:
        """Forget all counts and limits; continue with `config` (default: the same one)."""
        self.config = config or self.config
        self._call("/_reset", msgspec.json.encode(self.config))

    def change(self, config: ServerConfig) -> None:
        """Go on with another `config`, batches and jobs that are under way too; all counts stay."""
        self.config = config
        self._call("/_change", msgspec.json.encode(config))

    def cpu_s(self) -> float:
        """CPU seconds the server process has used."""
        return float(json.loads(self._call("/_cpu")))

    def _call(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", data=body, timeout=60) as answer:
            return bytes(answer.read())

    def __enter__(self) -> "OpenAIServer":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
