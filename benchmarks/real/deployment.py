"""Deployed copies of a real adapter against the adapter itself, and ten ways to break a deployment, by `bench parity`.

    python -m benchmarks.real.deployment ADAPTER DATA --work FOLDER                  # the copies
    python -m benchmarks.real.deployment ADAPTER DATA --work FOLDER --part faults    # the ten ways, on llama.cpp

ADAPTER writes its answers; DATA is a folder with its test rows. Everything is an ordinary `bench` command, printed
before it runs; exports that lie in FOLDER are used again. Wants `python -m benchmarks.real.environments light`; the
copies on vLLM are left out where it is not installed. The reference is the adapter in float32.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.real import environments, servers
from harness.adapter_manifest import AdapterManifest, read_manifest, weights_digest, write_manifest
from harness.adapters.engine_server import Launch, free_port, running
from harness.adapters.serving import for_vllm
from harness.files import read_record
from harness.parity.parity_result import ParityResult
from harness.peft_folder import WEIGHTS
from harness.reports.parity_page import share

WAIT_S = 900.0


class Copy(NamedTuple):
    """A deployed copy: the lines of its backend, and what of the result is expected ("" for a faithful copy)."""

    name: str
    table: str
    expected: str = ""


class Workbench:
    """Runs `bench` in one folder with a workspace of its own, one thread, offline; prints each command."""

    def __init__(self, adapter: Path, data: Path, folder: Path, rows: int) -> None:
        self.adapter, self.data, self.folder, self.rows = adapter.resolve(), data.resolve(), folder.resolve(), rows
        self.folder.mkdir(parents=True, exist_ok=True)
        self.manifest = read_manifest(self.adapter)
        self.results: list[tuple[Copy, ParityResult]] = []

    def bench(self, *words: str, codes: tuple[int, ...] = (0,)) -> None:
        """Run a command; stops the program where it ends with another code."""
        print(f"$ bench {shlex.join(words)}", flush=True)
        path = os.pathsep.join([str(servers.ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        environment = {
            **os.environ,
            "BENCH_HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": path,
        }
        ended = subprocess.run([sys.executable, "-m", "harness", *words], cwd=self.folder, env=environment, check=False)
        if ended.returncode not in codes:
            raise SystemExit(f"ended with code {ended.returncode}")

    def export(self, adapter: Path, name: str, *words: str) -> Path:
        """An export, made once."""
        out = self.folder / name
        if not out.exists():
            self.bench("adapter", "export", str(adapter), *words, "--out", str(out), "--rows", "0")
        return out

    def compare(self, copy: Copy) -> None:
        """The parity of one running copy."""
        reference = f'[backends.here]\nkind = "local"\nadapter = "{self.adapter}"\ndtype = "float32"\n\n'
        (self.folder / "bench.toml").write_text(reference + f"[backends.{copy.name}]\n{copy.table}\n", "utf-8")
        words = ["parity", "here", "--served", copy.name, "--task", self.manifest.task, "--data", str(self.data)]
        words += ["--rows", str(self.rows), "--out", str(self.folder / f"{copy.name}.html"), "--latency-probe", "0"]
        before = set((self.folder / "home" / "parity").glob(f"{copy.name}-*"))
        self.bench(*words, codes=(0, 1))
        (run,) = set((self.folder / "home" / "parity").glob(f"{copy.name}-*")) - before
        self.results.append((copy, read_record(run / "parity.json", ParityResult, "parity result")))

    @contextmanager
    def llama_cpp(self, gguf: Path, *words: str) -> Iterator[str]:
        """The table of a llama.cpp server over one file."""
        port = free_port()
        command = (sys.executable, "-m", "harness.adapters.llama_cpp_server", "--model", str(gguf), "--alias", "copy")
        launch = Launch((*command, "--port", str(port), "--parallel", "4", *words), "copy", port)
        with running(launch, WAIT_S):
            yield f'kind = "openai"\nmodel = "copy"\nbase_url = "{launch.base_url}"\nconcurrency = 4\ntimeout_s = 300\n'


def gguf_of(folder: Path) -> Path:
    """The one GGUF file of an export."""
    return next(folder.glob("*.gguf"))


def faithful_copies(bench: Workbench) -> None:
    """GGUF of three types, the merged model in bfloat16, and vLLM with LoRA and merged."""
    for quantization in ("f16", "q8_0", "q4_0"):
        words = ("--to", "gguf", "--quantization", quantization)
        with bench.llama_cpp(gguf_of(bench.export(bench.adapter, f"gguf-{quantization}", *words))) as table:
            bench.compare(Copy(f"llamacpp-{quantization}", table))
    merged = bench.export(bench.adapter, "merged", "--to", "merged")
    bench.compare(Copy("merged-bfloat16", f'kind = "local"\nmodel = "{merged}"\ndtype = "bfloat16"\n'))
    if environments.missing("vllm") is not None:
        return
    serving = for_vllm(bench.adapter, 64)
    assert serving.command is not None, "vLLM serves what this recipe trains"
    plain = f"vllm serve {shlex.quote(str(merged))} --served-model-name merged"
    for name, line, model in (("vllm-lora", serving.command, bench.manifest.id), ("vllm-merged", plain, "merged")):
        with servers.vllm_command(line, dtype="bfloat16") as server:
            url = f'base_url = "{server.base_url}"\nconcurrency = 4\ntimeout_s = 300\n'
            bench.compare(Copy(name, f'kind = "openai"\nmodel = "{model}"\n{url}'))


def changed_adapter(bench: Workbench, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the adapter with other weights, and a manifest that names them."""
    from safetensors.torch import load_file, save_file

    folder = bench.folder / name
    if folder.exists():
        return folder
    shutil.copytree(bench.adapter, folder)
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest |= {"id": name, "adapter_sha256": weights_digest(folder)}
    import msgspec

    write_manifest(folder, msgspec.convert(manifest, AdapterManifest))
    return folder


def without_adapter(weights: dict[str, Any]) -> None:
    """The base alone: an adapter that adds nothing."""
    for name in weights:
        if ".lora_B." in name:
            weights[name] = weights[name] * 0


def half_rank(weights: dict[str, Any]) -> None:
    """The second half of the rank blanked."""
    for name, value in weights.items():
        if ".lora_B." in name:
            value[:, value.shape[1] // 2 :] = 0


def another_revision(weights: dict[str, Any]) -> None:
    """What the adapter adds is disturbed by a third of its size, as on a base that has moved."""
    import torch

    torch.manual_seed(0)
    for name, value in weights.items():
        if ".lora_B." in name:
            value += 0.35 * value.std() * torch.randn_like(value)


FAULTS = (
    ("adapter-not-applied", without_adapter, "", "", "adapter not applied"),
    ("rank-cut", half_rank, "", "", "reduced rank"),
    ("other-revision", another_revision, "", "", "other weights"),
    ("wrong-template", None, "--chat-template {%for m in messages%}[{{m['content']}}]{%endfor%}", "", "chat template"),
    ("system-dropped", None, "--chat-template NO_SYSTEM", "", "system prompt"),
    ("short-context", None, "--ctx-size 384", "", "truncation"),
    ("no-end-token", None, "", "extra_body = { ignore_eos = true }", "end token"),
    ("temperature", None, "", "extra_body = { temperature = 0.7 }", "sampling"),
)
"""Name, change of the adapter, words of the server, lines of the backend, and what parity must name. The two others are
the base asked instead of the adapter (vLLM lists both) and another quantisation (Q4_0, among the copies)."""


def broken_copies(bench: Workbench) -> None:
    """Each fault on llama.cpp with f16 weights; and on vLLM, where it is installed, the base that is asked."""
    whole = bench.export(bench.adapter, "gguf-f16", "--to", "gguf")
    for name, change, words, lines, expected in FAULTS:
        source = whole
        if change is not None:
            source = bench.export(changed_adapter(bench, f"adapter-{name}", change), f"gguf-{name}", "--to", "gguf")
        flags = shlex.split(words.replace("NO_SYSTEM", shlex.quote(no_system(bench)))) if words else []
        with bench.llama_cpp(gguf_of(source), *flags) as table:
            bench.compare(Copy(name, f"{table}{lines}\n", expected))
    with bench.llama_cpp(
        gguf_of(bench.export(bench.adapter, "gguf-q4_0", "--to", "gguf", "--quantization", "q4_0"))
    ) as t:
        bench.compare(Copy("quantised", t, "quantisation"))
    serving = for_vllm(bench.adapter, 64)
    if environments.missing("vllm") is None and serving.command is not None:
        with ExitStack() as stack:
            server = stack.enter_context(servers.vllm_command(serving.command))
            lines = f'base_url = "{server.base_url}"\nconcurrency = 4\ntimeout_s = 300\n'
            base = bench.manifest.base_spec
            bench.compare(Copy("base-asked", f'kind = "openai"\nmodel = "{base}"\n{lines}', "base asked"))


def no_system(bench: Workbench) -> str:
    """The base's chat template without the system turn that it writes of itself."""
    from harness.adapters.gguf_export import template_of
    from harness.backends.local.base_files import find_base
    from harness.backends.local.weight_loading import load_tokenizer

    template = template_of(load_tokenizer(find_base(bench.manifest.base_spec))) or ""
    return template.replace("loop.first and messages[0]['role'] != 'system'", "false")


def markdown(results: list[tuple[Copy, ParityResult]]) -> str:
    """One row a copy."""
    lines = [
        "| copy | verdict | equal answers | headline metric, points | named |",
        "| --- | --- | --- | --- | --- |",
    ]
    for copy, result in results:
        first = result.checks[0]
        span = "" if first.low is None or first.high is None else f" [{100 * first.low:+.1f}, {100 * first.high:+.1f}]"
        named = ", ".join(f"{one.kind} ({one.level})" for one in result.findings) or "-"
        caught = "" if not copy.expected else " (expected)" if copy.expected in named else f" (not: {copy.expected})"
        lines.append(
            f"| {copy.name} | {result.verdict} | {share(result.agreement)} | {100 * first.difference:+.1f}{span} "
            f"| {named}{caught} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run one part and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for exports, answers and the tables")
    parser.add_argument("--part", choices=["copies", "faults"], default="copies")
    parser.add_argument("--rows", type=int, default=1000)
    options = parser.parse_args()
    if sentence := environments.missing("llamacpp"):
        parser.error(sentence)
    bench = Workbench(options.adapter, options.data, options.work, options.rows)
    (faithful_copies if options.part == "copies" else broken_copies)(bench)
    table = markdown(bench.results)
    (bench.folder / f"{options.part}.md").write_text(table, "utf-8")
    print(table, flush=True)


if __name__ == "__main__":
    main()
