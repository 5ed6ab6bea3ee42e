"""`bench serve`: start an installed engine on loopback with the right flags, and wait until it answers."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec

from harness.adapter_manifest import AdapterManifest, read_manifest
from harness.adapters.adapter_export import ExportManifest, export_adapter
from harness.errors import BenchError, MissingExtraError, UsageError
from harness.files import read_record

Engine = Literal["vllm", "llama.cpp", "transformers"]
ENGINES: tuple[Engine, ...] = ("vllm", "llama.cpp", "transformers")

INSTALL = {
    "vllm": "vllm is not installed: python -m pip install vllm, or name its executable with --program.",
    "llama.cpp": "llama.cpp's server is not installed: install llama-server (brew install llama.cpp, or a release of "
    "ggml-org/llama.cpp), or python -m pip install xllamacpp.",
    "transformers": "transformers serve is not installed: python -m pip install 'transformers[serving]'.",
}

LOOPBACK = "127.0.0.1"
END_S = 20.0
"""Seconds that an engine has to end by itself."""

TAIL = 1500
"""Characters of an engine's last words that are shown where it fails."""


@dataclass(frozen=True)
class Launch:
    """An engine's command, the id that it serves the model by, and the table of bench.toml that asks it."""

    command: tuple[str, ...]
    model: str
    port: int
    decode: str = ""

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}/v1"

    def table(self, name: str = "served") -> str:
        """The backend as `bench.toml` has it."""
        decode = f'decode = "{self.decode}"\n' if self.decode else ""
        return f'[backends.{name}]\nkind = "openai"\nmodel = "{self.model}"\nbase_url = "{self.base_url}"\n{decode}'


def prepare(
    folder: Path, engine: Engine, work: Path, *, port: int | None, program: str | None, options: Sequence[str] = ()
) -> Launch:
    """The command that serves an adapter, exporting what the engine needs into `work` first.

    options: words added to the engine's command. Raises UsageError where the engine cannot serve this adapter,
    MissingExtraError where it is not installed.
    """
    manifest = read_manifest(folder)
    if port is None:
        port = free_port()
    words = engine_program(engine, program)
    head = manifest.objective == "head"
    if head and engine != "vllm":
        raise UsageError(
            f"adapter {manifest.id} is a classification head, which {engine} does not serve: --engine vllm."
        )
    if engine == "llama.cpp":
        found = _exported(folder, "gguf", work)
        model = next(work.glob("*.gguf"))
        return Launch((*words, *_llama_cpp(words, model, found.adapter, port), *options), found.adapter, port)
    if engine == "transformers":
        _exported(folder, "merged", work)
        served = str(work.absolute())
        return Launch((*words, served, "--host", LOOPBACK, "--port", str(port), *options), served, port)
    if head or _needs_merge(folder, manifest):
        found = _exported(folder, "merged", work)
    else:
        found = _exported(folder, "vllm", work)
    serve = shlex.split(found.serve)[1:]
    serve[serve.index("--port") + 1] = str(port)
    return Launch((*words, *serve, "--host", LOOPBACK, *options), manifest.id, port, "head" if head else "")


def _exported(folder: Path, to: Literal["merged", "gguf", "vllm"], work: Path) -> ExportManifest:
    """What an earlier call exported here of the same weights, else a new export."""
    kept = work / "export.json"
    if kept.is_file():
        found = read_record(kept, ExportManifest, "export manifest", f"remove {work}")
        if (found.to, found.adapter_sha256) == (to, read_manifest(folder).adapter_sha256):
            return found
        shutil.rmtree(work)
    work.parent.mkdir(parents=True, exist_ok=True)
    return export_adapter(folder, to, work, rows=0)


def _needs_merge(folder: Path, manifest: AdapterManifest) -> bool:
    """Whether vLLM refuses the adapter as LoRA beside its base."""
    from harness.adapters.serving import RANKS, for_vllm

    return bool(manifest.objective != "generate" or for_vllm(folder, RANKS[-1]).problems)


def engine_program(engine: Engine, program: str | None) -> tuple[str, ...]:
    """The words that start an engine. Raises MissingExtraError with the command that installs it."""
    if program is not None:
        found = shutil.which(program)
        if found is None:
            raise UsageError(f"--program {program}: there is no such executable.")
        return (found, "serve") if engine == "transformers" else (found,)
    if engine == "llama.cpp":
        if (found := shutil.which("llama-server")) is not None:
            return (found,)
        if find_spec("xllamacpp") is not None:
            return (sys.executable, "-m", "harness.adapters.llama_cpp_server")
    elif engine == "vllm" and (found := shutil.which("vllm")) is not None:
        return (found,)
    elif engine == "transformers" and find_spec("fastapi") and find_spec("uvicorn"):
        found = shutil.which("transformers")
        if found is not None:
            return (found, "serve")
    raise MissingExtraError(INSTALL[engine])


def _llama_cpp(words: Sequence[str], model: Path, name: str, port: int) -> tuple[str, ...]:
    common = ("--alias", name, "--host", LOOPBACK, "--port", str(port), "--ctx-size", "8192")
    jinja = () if words[-1].endswith("llama_cpp_server") else ("--jinja",)
    return ("--model", str(model), *common, *jinja)


def free_port() -> int:
    """A port nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(launch: Launch, wait_s: float) -> Iterator["subprocess.Popen[bytes]"]:
    """The engine, once it answers; it and all its processes end with the block.

    Raises BenchError with its last words where it ends, or does not answer within `wait_s` seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                launch.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, "VLLM_NO_USAGE_STATS": "1"},
            )
        try:
            _wait(launch, process, log, wait_s)
            yield process
        finally:
            end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children: asked first, then killed."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
            return


def _wait(launch: Launch, process: "subprocess.Popen[bytes]", log: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"{launch.command[0]} ended with code {process.returncode}. {_tail(log)}")
        if answers(launch.base_url):
            return
        time.sleep(0.2)
    raise BenchError(f"{launch.command[0]} did not answer within {wait_s:g} s. {_tail(log)}")


def answers(base_url: str) -> bool:
    """Whether a server has its model at hand: it lists its models, or knows no such list, and does not say that it is
    not healthy yet (llama.cpp lists the model while it is still loading it)."""
    import httpx2

    root = base_url.removesuffix("/v1")
    try:
        answer = httpx2.get(f"{base_url}/models", timeout=2.0, trust_env=False)
        if httpx2.get(f"{root}/health", timeout=2.0, trust_env=False).status_code == 503:
            return False
    except httpx2.HTTPError:
        return False
    if answer.status_code in (404, 405):
        return True
    try:
        return answer.status_code == 200 and isinstance(msgspec.json.decode(answer.content), dict)
    except msgspec.DecodeError:
        return False


def _tail(log: Path) -> str:
    words = " ".join(log.read_text("utf-8", "replace")[-TAIL:].split())
    return f"It printed last: {words}" if words else "It printed nothing."
