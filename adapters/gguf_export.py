"""Export to GGUF: weights by architecture, and the tokenizer as llama.cpp reads it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.torch import load_file

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
from harness.peft_folder import PEFT_CONFIG, WEIGHTS, peft_config

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")

BY_PATTERN = {LLAMA_3: "llama-bpe", QWEN_2: "qwen2"}
"""The regular expression that splits a text before merging, and llama.cpp's name for it (src/llama-vocab.cpp)."""

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""GGUF's kinds of tokens (gguf.TokenType)."""


def pre_tokenizer(folder: Path) -> str:
    """llama.cpp's name for the way in which this tokenizer splits texts. Raises UsageError for one it does not know."""
    described = _tokenizer_json(folder)
    model = described.get("model") or {}
    steps = _steps(described.get("pre_tokenizer"))
    byte_level = next((s for s in steps if s.get("type") == "ByteLevel"), None)
    if model.get("type") != "BPE" or model.get("byte_fallback") or byte_level is None:
        raise UsageError(
            f"{folder / 'tokenizer.json'} is no byte-level BPE tokenizer, which this export writes: export with --to "
            "merged, and convert the folder with llama.cpp's convert_hf_to_gguf.py."
        )
    patterns = [(s.get("pattern") or {}).get("Regex") for s in steps if s.get("type") == "Split"]
    if patterns:
        found = BY_PATTERN.get(str(patterns[0])) if len(patterns) == 1 else None
        if found is None:
            raise UsageError(
                f"{folder / 'tokenizer.json'} splits texts by a pattern that this export does not know: export with "
                "--to merged, and convert the folder with llama.cpp's convert_hf_to_gguf.py."
            )
        return found
    digits = any(s.get("type") == "Digits" and s.get("individual_digits") for s in steps)
    return "smollm" if digits else "gpt-2"


def _tokenizer_json(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path} cannot be read ({error}): GGUF needs it.") from None


def _steps(step: Any) -> list[dict[str, Any]]:
    if not isinstance(step, dict):
        return []
    if step.get("type") == "Sequence":
        return [inner for one in step.get("pretokenizers") or [] for inner in _steps(one)]
    return [step]


def add_tokenizer(writer: Any, folder: Path, tokenizer: Any, size: int, ends: tuple[int, ...]) -> None:
    """Write a tokenizer's fields. size: rows of the model's embedding. ends: tokens that end an answer, the first one
    ends a turn. Raises UsageError."""
    import gguf

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(folder))
    by_id = {int(i): token for token, i in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, kinds = [], []
    for i in range(size):
        token = by_id.get(i)
        tokens.append(f"[PAD{i}]" if token is None else token)
        if token is None:
            kinds.append(UNUSED)
        elif i in added:
            kinds.append(CONTROL if added[i].special else USER_DEFINED)
        else:
            kinds.append(NORMAL)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=size)
    special.special_token_ids["eos"] = ends[0]
    special.add_special_token.pop("eos", None)
    # Prompts bring their own beginning: a chat template prints it, and the renderer adds it elsewhere.
    special.add_special_token["bos"] = _adds_beginning(tokenizer)
    special.chat_template = template_of(tokenizer)
    special.add_to_gguf(writer, quiet=True)
    if len(ends) > 1:
        writer.add_eot_token_id(ends[1])


def _adds_beginning(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def template_of(tokenizer: Any) -> str | None:
    """The chat template; of several the default one."""
    template = tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template


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
