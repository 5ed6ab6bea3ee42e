"""Real servers on loopback: started, waited for and stopped, each bounded in time."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from benchmarks.real.environments import gguf_file, program

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}


OPEN_GATEWAY = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
"""LiteLLM's proxy wants a master key, or a setting that says it has no other clients: it listens on loopback only."""


class ServerFailedError(Exception):
    """A server that ended, or did not answer in time; the message holds the end of what it printed."""


class Server(NamedTuple):
    """A running server: its address with `/v1`, and its process, which leads a group of its own."""

    base_url: str
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """SIGKILL to the whole group, as a machine that fails would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def models(self) -> list[str]:
        """Ids under /v1/models."""
        with urllib.request.urlopen(f"{self.base_url}/models", timeout=10) as answer:
            return [model["id"] for model in json.load(answer)["data"]]


def free_port() -> int:
    """A port nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def llamacpp(model: Path | None = None, limit_s: float = 120) -> Iterator[Server]:
    """llama.cpp's server over a GGUF file, by default SmolLM2's."""
    command = [sys.executable, "-m", "benchmarks.real.llamacpp", str(model or gguf_file())]
    with _process(command, {}, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as (process, log):
        assert process.stdout is not None
        line = _first_line(process, process.stdout, log, limit_s)
        server = Server(f"{line.rstrip('/')}/v1", process)
        _wait(server, log, limit_s)
        yield server


@contextlib.contextmanager
def vllm_command(line: str, limit_s: float = 600, port: int | None = None, dtype: str = "float32") -> Iterator[Server]:
    """vLLM by the command of `bench adapter check --for vllm`, on one thread and on loopback.

    port: None: any free one. dtype: of the weights and their arithmetic.
    """
    port = port or free_port()
    words = shlex.split(line)
    command = [
        str(program("vllm", words[0])), *words[1:], "--host", "127.0.0.1", "--port", str(port),
        "--max-model-len", "1024", "--dtype", dtype, "--enforce-eager",
    ]  # fmt: skip
    with _process(command, ONE_THREAD) as (process, log):
        server = Server(f"http://127.0.0.1:{port}/v1", process)
        _wait(server, log, limit_s)
        yield server


@contextlib.contextmanager
def litellm(rpm: int, answer: str, limit_s: float = 300) -> Iterator[Server]:
    """LiteLLM's proxy with a mocked model behind it that it really limits to `rpm` requests a minute."""
    port = free_port()
    settings = {
        "model_list": [
            {
                "model_name": "gateway",
                "litellm_params": {"model": "openai/gpt-4.1", "api_key": "none", "mock_response": answer, "rpm": rpm},
            }
        ],
        "router_settings": {"optional_pre_call_checks": ["enforce_model_rate_limits"], "num_retries": 0},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
        command = [
            str(program("litellm", "litellm")),
            "--config",
            str(path),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        with _process(command, OPEN_GATEWAY) as (process, log):
            server = Server(f"http://127.0.0.1:{port}/v1", process)
            _wait(server, log, limit_s)
            yield server


@contextlib.contextmanager
def _process(
    command: list[str], environment: dict[str, str], stdin: Any = subprocess.DEVNULL, stdout: Any = None
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """A process in a group of its own whose words go to a file; its group is ended with the block."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **OFFLINE, **environment},
                stdin=stdin,
                stdout=stdout or out,
                stderr=out,
                start_new_session=True,
            )
        try:
            yield process, log
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for sign, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _first_line(process: "subprocess.Popen[bytes]", stdout: IO[bytes], log: Path, limit_s: float) -> str:
    """What the process prints first; its other words may come before the address."""
    deadline = time.monotonic() + limit_s
    os.set_blocking(stdout.fileno(), False)
    seen = b""
    while time.monotonic() < deadline:
        seen += stdout.read() or b""
        found = next((line for line in seen.decode("utf-8", "replace").splitlines() if line.startswith("http")), None)
        if found is not None and seen.endswith(b"\n"):
            return found.strip()
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise ServerFailedError(_tail(log))


def _wait(server: Server, log: Path, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise ServerFailedError(_tail(log))
        with contextlib.suppress(urllib.error.URLError, OSError, KeyError, ValueError):
            if server.models():
                return
        time.sleep(0.2)
    raise ServerFailedError(f"no answer within {limit_s:g} s. {_tail(log)}")


def _tail(log: Path) -> str:
    return "It printed last: " + log.read_text("utf-8", "replace")[-2000:]
