"""Deployed copies of a real adapter against the adapter itself, and ten ways to break a deployment, by `bench parity`.

    python -m benchmarks.real.deployment ADAPTER DATA --work FOLDER
    python -m benchmarks.real.deployment ADAPTER DATA --work FOLDER --only merged,vllm-lora,rank-cut
    python -m benchmarks.real.deployment ADAPTER DATA --work FOLDER --moved-by OTHER --only other-revision

ADAPTER writes its answers; DATA is a folder with its test rows. Everything is an ordinary `bench` command, printed
before it runs; exports that lie in FOLDER are used again, and the tables are of all results that lie there. Wants
`python -m benchmarks.real.environments light`. OTHER is an adapter of the same base for another task: the base with it
merged stands for a revision that was trained further. Without it that copy is left out, and without vLLM those on it.
The reference is the adapter in float32. The merged weights are rounded to bfloat16 and computed with in float32, also
by vLLM: CPUs without bfloat16 instructions are five times as slow in it.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.real import environments, servers
from harness.adapter_manifest import AdapterManifest, read_manifest, weights_digest, write_manifest
from harness.adapters.engine_server import Launch, free_port, running
from harness.adapters.serving import for_vllm
from harness.deployment.parity_result import ParityResult
from harness.files import read_record
from harness.peft_folder import PEFT_CONFIG, WEIGHTS
from harness.reports.parity_page import share

WAIT_S = 900.0


class Copy(NamedTuple):
    """A copy that is asked of a server. lines: added to the backend's table; expected: the fault that parity must name
    ("" for a faithful copy)."""

    name: str
    lines: str = ""
    expected: str = ""


class Workbench:
    """Runs `bench` in one folder with a workspace of its own, one thread, offline; prints each command."""

    def __init__(
        self, adapter: Path, data: Path, folder: Path, rows: int, fault_rows: int, moved_by: Path | None = None
    ) -> None:
        self.adapter, self.data, self.folder = adapter.resolve(), data.resolve(), folder.resolve()
        self.rows, self.fault_rows, self.moved_by = rows, fault_rows, moved_by
        self.results = self.folder / "results"
        self.results.mkdir(parents=True, exist_ok=True)
        self.manifest = read_manifest(self.adapter)

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

    def compare(self, copy: Copy, table: str) -> None:
        """The parity of one running copy, kept under its name."""
        reference = f'[backends.here]\nkind = "local"\nadapter = "{self.adapter}"\ndtype = "float32"\n\n'
        lines = f"{reference}[backends.{copy.name}]\n{table}{copy.lines}\n"
        (self.folder / "bench.toml").write_text(lines, "utf-8")
        words = ["parity", "here", "--served", copy.name, "--task", self.manifest.task, "--data", str(self.data)]
        words += ["--rows", str(self.fault_rows if copy.expected else self.rows)]
        words += ["--out", str(self.folder / f"{copy.name}.html"), "--latency-probe", "0"]
        before = set((self.folder / "home" / "parity").glob(f"{copy.name}-*"))
        self.bench(*words, codes=(0, 1))
        (run,) = set((self.folder / "home" / "parity").glob(f"{copy.name}-*")) - before
        shutil.copyfile(run / "parity.json", self.results / f"{copy.name}.json")

    def table(self, copies: list[Copy]) -> str:
        """One row a copy that has a result, in Markdown."""
        lines = [
            "| copy | verdict | equal answers | headline metric, points | named |",
            "| --- | --- | --- | --- | --- |",
        ]
        for copy in copies:
            path = self.results / f"{copy.name}.json"
            if path.is_file():
                lines.append(row(copy, read_record(path, ParityResult, "parity result")))
        return "\n".join(lines) + "\n"


def row(copy: Copy, result: ParityResult) -> str:
    """A row of the table: what was found, and whether it is what was expected."""
    first = result.checks[0]
    span = "" if first.low is None or first.high is None else f" [{100 * first.low:+.1f}, {100 * first.high:+.1f}]"
    named = ", ".join(f"{one.kind} ({one.level})" for one in result.findings) or "-"
    caught = "" if not copy.expected else " (expected)" if copy.expected in named else f" (not: {copy.expected})"
    return (
        f"| {copy.name} | {result.verdict} | {share(result.agreement)} | {100 * first.difference:+.1f}{span} "
        f"| {named}{caught} |"
    )


class Server(NamedTuple):
    """What is started once, as a context that gives the backend's table, and the copies that are asked of it."""

    copies: tuple[Copy, ...]
    start: Callable[[Workbench], AbstractContextManager[str]]


def llama_cpp(quantization: str, *words: str, change: "Change | None" = None) -> Callable[..., Any]:
    """llama.cpp over a GGUF file of the adapter, or of a changed copy of it. words: added to its command."""

    @contextmanager
    def start(bench: Workbench) -> Iterator[str]:
        name, source = f"gguf-{quantization}", bench.adapter
        if change is not None:
            source = changed_adapter(bench, change)
            name = f"{name}-{change.__name__}"
        folder = bench.export(source, name, "--to", "gguf", "--quantization", quantization)
        port = free_port()
        command = [sys.executable, "-m", "harness.adapters.llama_cpp_server", "--alias", "copy", "--port", str(port)]
        command += ["--model", str(next(folder.glob("*.gguf"))), "--parallel", "4"]
        command += [no_system(bench) if word == NO_SYSTEM else word for word in words]
        launch = Launch(tuple(command), "copy", port)
        with running(launch, WAIT_S):
            yield f'kind = "openai"\nmodel = "copy"\nbase_url = "{launch.base_url}"\nconcurrency = 4\ntimeout_s = 300\n'

    return start


@contextmanager
def merged_here(bench: Workbench) -> Iterator[str]:
    """The merged model by the local backend."""
    merged = bench.export(bench.adapter, "merged", "--to", "merged")
    yield f'kind = "local"\nmodel = "{merged}"\ndtype = "float32"\n'


@contextmanager
def vllm_merged(bench: Workbench) -> Iterator[str]:
    """The merged model on vLLM."""
    merged = bench.export(bench.adapter, "merged", "--to", "merged")
    with servers.vllm_command(f"vllm serve {shlex.quote(str(merged))} --served-model-name copy", WAIT_S) as server:
        yield f'{vllm_table(server)}model = "copy"\n'


@contextmanager
def vllm_lora(bench: Workbench) -> Iterator[str]:
    """The adapter beside its base on vLLM, by the command of `bench adapter check --for vllm`; copies name their
    model."""
    serving = for_vllm(bench.adapter, 64)
    assert serving.command is not None, "vLLM serves what this recipe trains"
    with servers.vllm_command(serving.command, WAIT_S) as server:
        yield vllm_table(server)


def vllm_table(server: servers.Server) -> str:
    """The backend's table but for its model."""
    return f'kind = "openai"\nbase_url = "{server.base_url}"\nconcurrency = 8\ntimeout_s = 300\n'


Change = Callable[[dict[str, Any], dict[str, Any]], None]
"""Changes an adapter's weights and its adapter_config.json in place."""


def changed_adapter(bench: Workbench, change: Change) -> Path:
    """A copy of the adapter with other weights, and a manifest that names them."""
    import msgspec
    from safetensors.torch import load_file, save_file

    name = f"adapter-{change.__name__}"
    folder = bench.folder / name
    if folder.exists():
        return folder
    shutil.copytree(bench.adapter, folder)
    weights = load_file(folder / WEIGHTS)
    config = json.loads((folder / PEFT_CONFIG).read_text("utf-8"))
    change(weights, config)
    save_file(weights, folder / WEIGHTS)
    (folder / PEFT_CONFIG).write_text(json.dumps(config), "utf-8")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest |= {"id": name, "adapter_sha256": weights_digest(folder)}
    write_manifest(folder, msgspec.convert(manifest, AdapterManifest))
    return folder


def without_adapter(weights: dict[str, Any], config: dict[str, Any]) -> None:
    """The base alone: an adapter that adds nothing."""
    for name in weights:
        if ".lora_B." in name:
            weights[name] = weights[name] * 0


def half_rank(weights: dict[str, Any], config: dict[str, Any]) -> None:
    """The second half of the rank blanked."""
    for name, value in weights.items():
        if ".lora_B." in name:
            value[:, value.shape[1] // 2 :] = 0


def on_base_moved_by(other: Path) -> Change:
    """The adapter on a base into which another one of the same layers is merged: the sum of both, as one adapter."""

    def moved_base(weights: dict[str, Any], config: dict[str, Any]) -> None:
        import torch
        from safetensors.torch import load_file

        added, its = load_file(other / WEIGHTS), json.loads((other / PEFT_CONFIG).read_text("utf-8"))
        if added.keys() != weights.keys():
            raise SystemExit(f"{other} adapts other layers.")
        scale, its_scale = (c["lora_alpha"] / c["r"] for c in (config, its))
        for name, value in weights.items():
            more = added[name] * (its_scale / scale if ".lora_B." in name else 1.0)
            weights[name] = torch.cat((value, more), dim=1 if ".lora_B." in name else 0).contiguous()
        config["r"] += its["r"]
        config["lora_alpha"] = scale * config["r"]

    return moved_base


NO_SYSTEM = "NO_SYSTEM"
"""Stands for the template of `no_system`."""


def no_system(bench: Workbench) -> str:
    """The base's chat template without the system turn that it writes of itself."""
    from harness.adapters.gguf_export import template_of
    from harness.backends.local.base_files import find_base
    from harness.backends.local.weight_loading import load_tokenizer

    template = template_of(load_tokenizer(find_base(bench.manifest.base_spec))) or ""
    return template.replace("loop.first and messages[0]['role'] != 'system'", "false")


BARE_TEMPLATE = "{%for m in messages%}[{{m['content']}}]{%endfor%}"
"""Prompts without the marks of the turns."""


def all_servers(bench: Workbench) -> list[Server]:
    """The faithful copies: the merged model, GGUF on llama.cpp, and vLLM with LoRA and merged; and ways to break a
    deployment, on llama.cpp with Q8_0 weights, but for those that only vLLM makes."""
    adapter, base = f'model = "{bench.manifest.id}"', f'model = "{bench.manifest.base_spec}"'
    moved: list[Server] = []
    if bench.moved_by is not None:
        start = llama_cpp("q8_0", change=on_base_moved_by(bench.moved_by))
        moved.append(Server((Copy("other-revision", "", "other weights"),), start))
    cut = f"{adapter}\nextra_body = {{ truncate_prompt_tokens = 100 }}"
    return [
        Server(
            (
                Copy("llamacpp-q8_0"),
                Copy("no-end-token", "extra_body = { ignore_eos = true }", "end token"),
                Copy("temperature", "extra_body = { temperature = 0.7 }", "sampling"),
            ),
            llama_cpp("q8_0"),
        ),
        Server((Copy("adapter-not-applied", "", "adapter not applied"),), llama_cpp("q8_0", change=without_adapter)),
        Server((Copy("wrong-template", "", "chat template"),), llama_cpp("q8_0", "--chat-template", BARE_TEMPLATE)),
        Server((Copy("system-dropped", "", "system prompt"),), llama_cpp("q8_0", "--chat-template", NO_SYSTEM)),
        Server((Copy("rank-cut", "", "reduced rank"),), llama_cpp("q8_0", change=half_rank)),
        *moved,
        Server((Copy("quantised-q4_0", "", "quantisation"),), llama_cpp("q4_0")),
        Server(
            (
                Copy("base-asked", base, "base asked"),
                Copy("prompts-cut", cut, "truncation"),
                Copy("vllm-lora", adapter),
            ),
            vllm_lora,
        ),
        Server((Copy("llamacpp-f16"),), llama_cpp("f16")),
        Server((Copy("merged"),), merged_here),
        Server((Copy("vllm-merged"),), vllm_merged),
    ]


def main() -> None:
    """Ask all copies, or some, and print the tables of all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for exports, answers and the tables")
    parser.add_argument("--only", default="", help="names of copies, with commas")
    parser.add_argument("--rows", type=int, default=1000, help="rows that a faithful copy is asked")
    parser.add_argument("--fault-rows", type=int, default=48, help="rows that a broken copy is asked")
    parser.add_argument("--moved-by", type=Path, help="another adapter of the base, for other-revision")
    options = parser.parse_args()
    if sentence := environments.missing("llamacpp"):
        parser.error(sentence)
    bench = Workbench(options.adapter, options.data, options.work, options.rows, options.fault_rows, options.moved_by)
    part = all_servers(bench)
    known = [copy for server in part for copy in server.copies]
    only = [word for word in options.only.split(",") if word] or [copy.name for copy in known]
    for unknown in set(only) - {copy.name for copy in known}:
        parser.error(f"no copy '{unknown}': choose from {', '.join(copy.name for copy in known)}")
    for server in part:
        chosen = [copy for copy in server.copies if copy.name in only]
        on_vllm = server.start in (vllm_lora, vllm_merged)
        if not chosen or (on_vllm and environments.missing("vllm") is not None):
            continue
        with server.start(bench) as table:
            for copy in chosen:
                bench.compare(copy, table)
    for name, faulty in (("copies", False), ("faults", True)):
        table = bench.table([copy for copy in known if bool(copy.expected) is faulty])
        (bench.folder / f"{name}.md").write_text(table, "utf-8")
        print(table, flush=True)


if __name__ == "__main__":
    main()
