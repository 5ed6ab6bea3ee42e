"""A merged model, or a LoRA adapter alone, as one GGUF file."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from harness.adapter_manifest import PEFT_CONFIG, WEIGHTS, peft_config
from harness.adapters.gguf_tokenizer import add_tokenizer
from harness.adapters.gguf_weights import (
    QUANTIZER,
    Quantization,
    add_lora,
    add_model_fields,
    add_weights,
    architecture_of,
    load_gguf,
    write,
)
from harness.adapters.merged_model import MergedModel
from harness.errors import BenchError, MissingExtraError, UsageError


def require_quantizer(quantization: Quantization) -> None:
    """Raises MissingExtraError where a type needs llama.cpp's quantiser and the machine has none."""
    if quantization == "q4_k_m" and shutil.which(QUANTIZER) is None:
        raise MissingExtraError(
            f"q4_k_m is written by llama.cpp's {QUANTIZER}, which is not on this machine: install it (brew install "
            "llama.cpp, or a release of ggml-org/llama.cpp), or export q4_0."
        )


def write_model(merged: MergedModel, path: Path, quantization: Quantization) -> None:
    """Model, tokenizer and chat template in one file. Raises UsageError for what this export does not know, BenchError
    where llama.cpp's quantiser fails."""
    if quantization == "q4_k_m":
        whole = path.with_name(f".{path.name}.f16")
        try:
            write_model(merged, whole, "f16")
            command = [QUANTIZER, str(whole), str(path), "Q4_K_M"]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            whole.unlink(missing_ok=True)
        if ended.returncode or not path.is_file():
            raise BenchError(f"{QUANTIZER} ended with code {ended.returncode}: {ended.stderr.strip()[-300:]}")
        return
    gguf = load_gguf()
    config = merged.model.config
    known = architecture_of(config)
    kinds = gguf.LlamaFileType
    file_type = {"f16": kinds.MOSTLY_F16, "q8_0": kinds.MOSTLY_Q8_0, "q4_0": kinds.MOSTLY_Q4_0}[quantization]

    def fill(writer: Any) -> None:
        add_model_fields(writer, config, merged.manifest.id)
        writer.add_file_type(file_type)
        if quantization != "f16":
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        rows = merged.model.get_input_embeddings().weight.shape[0]
        add_tokenizer(writer, merged.files.folder, merged.tokenizer, rows, merged.end_tokens())
        add_weights(writer, _arrays(merged.model.state_dict()), config, quantization)

    write(path, gguf.MODEL_ARCH_NAMES[getattr(gguf.MODEL_ARCH, known.name)], fill)


def write_lora(folder: Path, merged: MergedModel, path: Path) -> None:
    """The adapter's factors, for llama.cpp's `--lora` beside a GGUF of its base."""
    gguf = load_gguf()
    found = peft_config(folder) or {}
    scaled = "r" in found and "lora_alpha" in found and not found.get("use_dora")
    if not scaled or found.get("rank_pattern") or found.get("alpha_pattern"):
        raise UsageError(
            f"{folder / PEFT_CONFIG}: only plain LoRA of one rank is written as a GGUF adapter: export it whole."
        )
    alpha = float(found["lora_alpha"])
    if found.get("use_rslora"):  # llama.cpp scales by alpha / rank
        alpha *= float(found["r"]) ** 0.5
    config = merged.model.config
    known = architecture_of(config)

    def fill(writer: Any) -> None:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        writer.add_name(merged.manifest.id)
        add_lora(writer, _arrays(load_file(folder / WEIGHTS)), config)

    write(path, gguf.MODEL_ARCH_NAMES[getattr(gguf.MODEL_ARCH, known.name)], fill)


def _arrays(state: dict[str, Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Weights by name, one after the other, as float32 arrays."""
    for name, value in state.items():
        yield name, value.detach().float().cpu().numpy()
