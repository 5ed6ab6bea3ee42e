"""Whether an adapter can be served by vLLM beside its base, before anybody rents the machine."""

import shlex
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.adapter_manifest import AdapterManifest, read_manifest
from harness.errors import UsageError
from harness.peft_folder import WEIGHTS
from harness.safetensors_header import read_header

CONFIG = "adapter_config.json"

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (vllm/config/lora.py).

The rules of this file were read in vLLM's sources: vllm/config/lora.py at 01230b4 (0.11), vllm/lora/peft_helper.py
and lora_model.py of July 2026 (a branch on the main of that month), and pull request 47395 (DoRA, open then).
"""

OUTER = ("embed_tokens", "lm_head")
"""Layers whose adapters only some of vLLM's model classes take."""


class Serving(NamedTuple):
    """What forbids serving, what to know besides, and the command (None where something forbids it)."""

    problems: list[str]
    notes: list[str]
    command: str | None


def for_vllm(folder: Path, max_rank: int) -> Serving:
    """Check an adapter against the rules of vLLM's LoRA loader. Raises UsageError where it is not an adapter."""
    manifest = read_manifest(folder)
    if manifest.model is not None:
        return Serving([f"adapter {manifest.id} is hosted by its provider: there are no weights to serve."], [], None)
    if manifest.objective == "tfidf":
        return Serving(
            [f"adapter {manifest.id} is a classical baseline: there is no language model to serve."], [], None
        )
    if max_rank not in RANKS:
        known = ", ".join(map(str, RANKS))
        raise UsageError(f"--max-lora-rank {max_rank}: vLLM takes {known}.")
    config = _config(folder)
    problems = [*_shape(manifest, config), *_rank(config, max_rank), *_tensors(folder, config)]
    return Serving(problems, _notes(manifest, config), None if problems else _command(folder, manifest, max_rank))


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = msgspec.json.decode((folder / CONFIG).read_bytes(), type=dict[str, Any])
        return {**config, "r": int(config["r"])}
    except (OSError, msgspec.MsgspecError, KeyError, TypeError, ValueError):
        raise UsageError(f"{folder / CONFIG} is missing or unreadable: train the adapter again.") from None


def _shape(manifest: AdapterManifest, config: dict[str, Any]) -> list[str]:
    problems = []
    merge = f"merge it (bench adapter merge {manifest.id} --out DIR) and serve DIR"
    if manifest.objective == "head":
        problems.append(
            "it trains a classification head, which vLLM does not load with an adapter: "
            "ask it with a local backend, or train with --set objective=generate."
        )
    elif config.get("modules_to_save"):
        saved = ", ".join(map(str, config["modules_to_save"]))
        problems.append(f"whole layers are trained beside the adapter ({saved}), which vLLM refuses: {merge}.")
    if config.get("use_dora"):
        problems.append(f"it is a DoRA adapter, which vLLM refuses: {merge}, or train with --set lora.dora=false.")
    if config.get("bias", "none") != "none":
        problems.append(f'biases are trained (bias = "{config["bias"]}"), which vLLM refuses: {merge}.')
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        problems.append(
            f"layers have ranks or scales of their own (rank_pattern, alpha_pattern); vLLM scales all by alpha / r, "
            f"so its answers would differ: {merge}."
        )
    return problems


def _rank(config: dict[str, Any], max_rank: int) -> list[str]:
    r = config["r"]
    if r <= max_rank:
        return []
    wider = next((n for n in RANKS if n >= r), None)
    serve = f"serve it with --max-lora-rank {wider}, or " if wider else ""
    return [f"its rank {r} is above --max-lora-rank {max_rank}: {serve}train with --set lora.r={max_rank}."]


def _tensors(folder: Path, config: dict[str, Any]) -> list[str]:
    """Weights in the file that are neither of the two low-rank factors (DoRA's and saved layers were reported
    already).
    """
    other = [
        n for n in _tensor_names(folder) if ".lora_A." not in n and ".lora_B." not in n and "lora_embedding" not in n
    ]
    if not other or config.get("use_dora") or config.get("modules_to_save"):
        return []
    return [f"{folder / WEIGHTS} holds {len(other)} weights that are no LoRA factors ({other[0]}): vLLM refuses it."]


def _tensor_names(folder: Path) -> list[str]:
    """Names in a safetensors header. Raises UsageError where there is none that is whole."""
    read_header(folder / WEIGHTS)  # a header may claim any size
    with (folder / WEIGHTS).open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    return [name for name in msgspec.json.decode(header, type=dict[str, Any]) if name != "__metadata__"]


def _notes(manifest: AdapterManifest, config: dict[str, Any]) -> list[str]:
    notes = []
    targets = config.get("target_modules") or []
    outer = [name for name in OUTER if name in targets]
    if outer:
        notes.append(
            f"adapters of {' and '.join(outer)} are taken by some of vLLM's model classes only (Llama's is one)."
        )
    if config.get("use_rslora"):
        notes.append("rsLoRA is read from its configuration: vLLM scales by alpha / sqrt(r).")
    if manifest.quantization == "nf4":
        notes.append(
            "it was trained on 4-bit weights: --quantization bitsandbytes serves it on the same; "
            "on 16-bit weights its answers may differ, so run the evaluation against that server."
        )
    if Path(manifest.base).exists():
        notes.append(f"its base is the folder {manifest.base}: the serving machine needs the same one.")
    return notes


def _command(folder: Path, manifest: AdapterManifest, max_rank: int) -> str:
    words = ["vllm", "serve", manifest.base, "--enable-lora", "--max-lora-rank", str(max_rank)]
    words += ["--lora-modules", f"{manifest.id}={folder.resolve()}"]
    if manifest.base_revision:
        words += ["--revision", manifest.base_revision]
    if manifest.quantization == "nf4":
        words += ["--quantization", "bitsandbytes"]
    return shlex.join(words)
