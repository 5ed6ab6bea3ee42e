"""`bench adapter export`: an adapter as a file or folder that a server takes, with a manifest that says how."""

import secrets
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness import hardware
from harness.adapter_manifest import OWN_ROWS, AdapterManifest, read_manifest
from harness.adapters.gguf_weights import Quantization
from harness.data.rows import DataSource
from harness.data.sampling import seeded_order
from harness.errors import UsageError
from harness.files import write_json, write_whole
from harness.hashing import file_digest
from harness.peft_folder import PEFT_CONFIG, WEIGHTS
from harness.prompting.chat_rendering import Renderer
from harness.records import Message, Record, Request
from harness.task_loading import build_request, load_rows, load_task
from harness.text_sanitize import is_path

if TYPE_CHECKING:
    from harness.adapters.merged_model import MergedModel

Target = Literal["merged", "gguf", "ollama", "vllm", "sglang"]
TARGETS: tuple[Target, ...] = ("merged", "gguf", "ollama", "vllm", "sglang")

EXPORT = "export.json"
SCHEMA = 1


class MergeCheck(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Rows that the merged model answered as the adapter did, of those asked."""

    rows: int
    equal: int


class ExportManifest(Record, frozen=True, kw_only=True, omit_defaults=False):
    """`export.json`, beside what was exported.

    schema: version of the file. to: the target. adapter, adapter_sha256, base, base_revision, base_sha256, task,
    labels: of the source. weights: their type ("bfloat16", "q8_0", ..). template_hash: of the chat template's
    rendering. end_tokens: texts that end an answer. files: SHA-256 by name. merged: what the merged model answered,
    None where nothing was merged or asked. versions: of the tools. serve: the line that serves it. backend: the table
    of bench.toml that asks it there.
    """

    schema: int = SCHEMA
    to: Target
    adapter: str
    adapter_sha256: str | None
    base: str
    base_revision: str | None = None
    base_sha256: str | None = None
    task: str = ""
    labels: tuple[str, ...] = ()
    weights: str = ""
    template_hash: str | None = None
    end_tokens: tuple[str, ...] = ()
    files: dict[str, str] = {}
    merged: MergeCheck | None = None
    versions: dict[str, str] = {}
    serve: str = ""
    backend: str = ""


def export_adapter(
    folder: Path,
    to: Target,
    out: Path,
    *,
    quantization: Quantization = "f16",
    rows: int = 20,
    task: str | None = None,
    lora: bool = False,
) -> ExportManifest:
    """Write an adapter to `out` for a server, and return the manifest that lies beside it.

    quantization: of GGUF weights. rows: training rows that the merged model and the adapter are both asked; the export
    is written whatever rounding does to them. lora: the adapter alone as a GGUF LoRA. Raises UsageError, and
    MissingExtraError where the package gguf is not installed.
    """
    manifest = read_manifest(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not an empty folder: name another.")
    if manifest.objective == "head" and to in ("gguf", "ollama"):
        raise UsageError(
            f"adapter {manifest.id} is a classification head: export it with --to merged, for vLLM's /classify."
        )
    if lora and to != "gguf":
        raise UsageError("--lora goes with --to gguf.")
    aside = out.absolute().parent / f".{out.name}.{secrets.token_hex(2)}"
    aside.mkdir(parents=True)
    try:
        if to in ("vllm", "sglang"):
            made = _export_adapter_folder(folder, manifest, to, aside, out)
        else:
            made = _export_merged(folder, manifest, to, aside, out, quantization, _requests(manifest, task, rows), lora)
        files = {p.name: file_digest(p) for p in sorted(aside.iterdir())}
        made = msgspec.structs.replace(made, files=files, versions=_versions())
        write_json(aside / EXPORT, made)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return made


def _versions() -> dict[str, str]:
    found = hardware.versions()
    try:
        from importlib.metadata import version

        return {**found, "gguf": version("gguf")}
    except ImportError:
        return found


def _requests(manifest: AdapterManifest, task_spec: str | None, rows: int) -> list[Request]:
    """Training rows to compare by; none where the task, or its rows, are not known here."""
    if rows == 0 or not (task_spec or manifest.task):
        return []
    try:
        task = load_task(task_spec or manifest.task_spec)
        source = manifest.data.get("source")
        location = None if source == OWN_ROWS else manifest.places.get("data", source)
        samples = load_rows(task, DataSource(location=location, split="train"))
    except UsageError:
        if task_spec is not None:
            raise
        return []
    return [build_request(task, sample) for sample in seeded_order(samples, manifest.seed)[:rows]]


def _described(manifest: AdapterManifest, to: Target) -> ExportManifest:
    base = Path(manifest.base).name if is_path(manifest.base) else manifest.base
    return ExportManifest(
        to=to,
        adapter=manifest.id,
        adapter_sha256=manifest.adapter_sha256,
        base=base,
        base_revision=manifest.base_revision,
        base_sha256=manifest.base_sha256,
        task=manifest.task,
        labels=manifest.labels,
    )


def _backend(model: str, port: int, extra: Sequence[str] = ()) -> str:
    lines = ["[backends.served]", 'kind = "openai"', f'model = "{model}"', f'base_url = "http://127.0.0.1:{port}/v1"']
    return "\n".join([*lines, *extra]) + "\n"


def _export_adapter_folder(
    folder: Path, manifest: AdapterManifest, to: Target, aside: Path, out: Path
) -> ExportManifest:
    """The adapter's own files, for a server that loads LoRA beside the base."""
    from harness.adapters.serving import RANKS, for_vllm

    config = msgspec.json.decode((folder / PEFT_CONFIG).read_bytes(), type=dict[str, Any])
    rank = next((n for n in RANKS if n >= max(16, int(config["r"]))), RANKS[-1])
    serving = for_vllm(folder, rank)
    if serving.problems:
        raise UsageError(f"adapter {manifest.id} cannot be served as it is: {serving.problems[0]}")
    for name in (PEFT_CONFIG, WEIGHTS):
        shutil.copyfile(folder / name, aside / name)
    base = manifest.base_spec
    if to == "vllm":
        words = ["vllm", "serve", base, "--enable-lora", "--max-lora-rank", str(rank)]
        words += ["--lora-modules", f"{manifest.id}={out.absolute()}", "--port", "8000"]
        words += ["--revision", manifest.base_revision] if manifest.base_revision else []
        words += ["--quantization", "bitsandbytes"] if manifest.quantization == "nf4" else []
        model, port = manifest.id, 8000
    else:
        words = ["python", "-m", "sglang.launch_server", "--model-path", base, "--enable-lora"]
        words += ["--max-lora-rank", str(rank), "--lora-paths", f"{manifest.id}={out.absolute()}", "--port", "30000"]
        words += ["--revision", manifest.base_revision] if manifest.base_revision else []
        model, port = f"{base}:{manifest.id}", 30000
    return msgspec.structs.replace(
        _described(manifest, to),
        weights="as trained",
        template_hash=manifest.template_hash,
        serve=shlex.join(words),
        backend=_backend(model, port),
    )


def _export_merged(
    folder: Path,
    manifest: AdapterManifest,
    to: Target,
    aside: Path,
    out: Path,
    quantization: Quantization,
    requests: list[Request],
    lora: bool,
) -> ExportManifest:
    """The merged model as a folder, a GGUF file, or a GGUF file with its Modelfile."""
    from harness.adapters.merged_model import merge_model

    if to != "merged":
        _require_gguf(manifest, quantization)
    merged = merge_model(folder, manifest, requests)
    described = msgspec.structs.replace(
        _described(manifest, to),
        weights=merged.dtype if to == "merged" else quantization,
        template_hash=merged.renderer.template_hash,
        end_tokens=tuple(str(merged.tokenizer.convert_ids_to_tokens(token)) for token in merged.end_tokens()),
        merged=MergeCheck(rows=merged.asked, equal=merged.equal) if merged.asked else None,
    )
    if to == "merged":
        words, extra = _save_folder(merged, aside, out)
        return msgspec.structs.replace(described, serve=shlex.join(words), backend=_backend(manifest.id, 8000, extra))
    name, words = _save_gguf(folder, merged, aside, out, quantization, lora)
    port = 8080
    if to == "ollama":
        _save_modelfile(merged, aside / "Modelfile", name, requests)
        words, port = ["ollama", "create", manifest.id, "-f", str(out.absolute() / "Modelfile")], 11434
    else:
        words += ["--port", str(port)]
    return msgspec.structs.replace(described, serve=shlex.join(words), backend=_backend(manifest.id, port))


def _require_gguf(manifest: AdapterManifest, quantization: Quantization) -> None:
    """Raises, before minutes of work, where a GGUF file of this adapter cannot be written here."""
    from transformers import AutoConfig

    from harness.adapters.gguf_export import require_quantizer
    from harness.adapters.gguf_weights import architecture_of, load_gguf
    from harness.backends.local.base_files import find_base

    load_gguf()
    require_quantizer(quantization)
    architecture_of(AutoConfig.from_pretrained(str(find_base(manifest.base_spec).folder), local_files_only=True))


def _save_folder(merged: "MergedModel", aside: Path, out: Path) -> tuple[list[str], list[str]]:
    """A Hugging Face folder; vLLM's command for it, and what its backend's table needs besides."""
    from harness.adapters.merged_model import save_model

    save_model(merged, aside)
    words = ["vllm", "serve", str(out.absolute()), "--served-model-name", merged.manifest.id, "--port", "8000"]
    if merged.manifest.objective == "head":
        return [*words, "--runner", "pooling"], ['decode = "head"']
    return words, []


def _save_gguf(
    folder: Path, merged: "MergedModel", aside: Path, out: Path, quantization: Quantization, lora: bool
) -> tuple[str, list[str]]:
    """One GGUF file: its name, and llama-server's command for it but for the port."""
    from harness.adapters.gguf_export import write_lora, write_model

    made = merged.manifest.id
    if lora:
        name = f"{made}-lora.gguf"
        write_lora(folder, merged, aside / name)
        words = ["llama-server", "-m", "BASE.gguf", "--lora", str(out.absolute() / name)]
    else:
        name = f"{made}-{quantization}.gguf"
        write_model(merged, aside / name, quantization)
        words = ["llama-server", "-m", str(out.absolute() / name)]
    return name, [*words, "--alias", made, "--jinja", "--ctx-size", str(_context(merged.model.config))]


def _save_modelfile(merged: "MergedModel", path: Path, gguf: str, requests: list[Request]) -> None:
    """Ollama's Modelfile beside a GGUF file."""
    longest = max((request.max_tokens for request in requests), default=256)
    stops = stop_texts(merged.tokenizer, merged.end_tokens())
    text = modelfile(gguf, merged.renderer, stops, _context(merged.model.config), longest)
    write_whole(path, text.encode())


def _context(config: Any) -> int:
    """Tokens of context that a small server can hold."""
    return int(min(8192, config.max_position_embeddings))


SYSTEM, USER = "\ue001", "\ue002"
"""Marks in place of texts, found again in what the template prints."""


def modelfile(gguf: str, renderer: Renderer, stops: tuple[str, ...], context: int, max_tokens: int) -> str:
    """The Modelfile of a GGUF file beside it. Raises UsageError for a chat template that is no frame around texts."""
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{go_template(renderer)}"""']
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in stops]
    lines += ["PARAMETER temperature 0", f"PARAMETER num_ctx {context}", f"PARAMETER num_predict {max_tokens}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def go_template(renderer: Renderer) -> str:
    """The frame of one turn as a Go template: system (or the template's default), user, and the answer's beginning.

    Ollama's template language is Go's text/template with .System, .Prompt and .Response; requests of several turns are
    rendered by its own loop over .Messages, which a frame of marks cannot express.
    """
    if not renderer.chat:
        return "{{ .Prompt }}"
    user = Message(role="user", content=USER)
    alone = renderer.text((user,))
    try:
        both = renderer.text((Message(role="system", content=SYSTEM), user))
    except UsageError:  # a template without system messages
        both = ""
    if alone.count(USER) != 1 or "{{" in alone:
        raise UsageError("the chat template cannot be written as an Ollama template: serve the GGUF with llama.cpp.")
    before, after = alone.split(USER)
    if both.count(SYSTEM) != 1 or both.count(USER) != 1 or not both.endswith(USER + after):
        return f"{before}{{{{ .Prompt }}}}{after}{{{{ .Response }}}}"
    start, middle = both[: -len(USER + after)].split(SYSTEM)
    return (
        f"{{{{ if .System }}}}{start}{{{{ .System }}}}{middle}{{{{ else }}}}{before}{{{{ end }}}}"
        f"{{{{ .Prompt }}}}{after}{{{{ .Response }}}}"
    )


def stop_texts(tokenizer: Any, ends: tuple[int, ...]) -> tuple[str, ...]:
    """The texts of the tokens that end an answer."""
    return tuple(str(tokenizer.convert_ids_to_tokens(token)) for token in ends)
