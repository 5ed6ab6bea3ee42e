"""Weights of a merged model, or of a LoRA adapter, as GGUF tensors; llama.cpp reads the file.

Written with the `gguf` package of llama.cpp's authors, which names the tensors and holds the formats. What is
converted follows llama.cpp's convert_hf_to_gguf.py and convert_lora_to_gguf.py: query and key rows of Llama's layout
are permuted, vectors stay float32, matrices whose rows do not fill blocks stay float16.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingExtraError, UsageError
from harness.extras import install_command

Quantization = Literal["f16", "q8_0", "q4_0", "q4_k_m"]
QUANTIZER = "llama-quantize"
"""llama.cpp's own program, which alone writes q4_k_m."""

BLOCK = 32
"""Weights of a row that share one scale in Q8_0 and Q4_0."""

Array = NDArray[Any]


class Architecture(NamedTuple):
    """How a model type is written: gguf's name of its architecture, and whether query and key rows are permuted."""

    name: str
    permuted: bool


ARCHITECTURES = {
    "llama": Architecture("LLAMA", True),
    "mistral": Architecture("LLAMA", True),
    "qwen2": Architecture("QWEN2", False),
    "qwen3": Architecture("QWEN3", False),
}
"""Model types of transformers that are exported."""


def load_gguf() -> Any:
    """The package `gguf`. Raises MissingExtraError where it is not installed."""
    try:
        import gguf
    except ImportError:
        raise MissingExtraError(f"GGUF files are written by the package gguf: {install_command('gguf')}.") from None
    return gguf


def architecture_of(config: Any) -> Architecture:
    """How a model of this configuration is written. Raises UsageError for one that is not exported."""
    found = ARCHITECTURES.get(str(config.model_type))
    if found is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UsageError(
            f"models of type {config.model_type} are not exported to GGUF (known: {known}): export with --to merged, "
            "and convert the folder with llama.cpp's convert_hf_to_gguf.py."
        )
    return found


def add_model_fields(writer: Any, config: Any, name: str) -> None:
    """The shape of the model. config: of transformers."""
    heads, head_dim = config.num_attention_heads, head_size(config)
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(rope_of(config).get("rope_theta", 10_000.0)))
    writer.add_rope_dimension_count(head_dim)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_vocab_size(config.vocab_size)
    window = getattr(config, "sliding_window", None)
    if window and getattr(config, "use_sliding_window", True):
        writer.add_sliding_window(window)


def head_size(config: Any) -> int:
    """Width of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def rope_of(config: Any) -> dict[str, Any]:
    """The parameters of rotary positions."""
    return dict(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})


def rope_factors(config: Any) -> Array | None:
    """Llama 3's divisors of the rotary frequencies, (head_dim / 2,); None where positions are not scaled.

    Raises UsageError for another scaling.
    """
    rope = rope_of(config)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise UsageError(f"rotary positions of type {kind} are not exported to GGUF: convert with llama.cpp's script.")
    width, old = head_size(config), rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    waves = 2 * math.pi * float(rope["rope_theta"]) ** (np.arange(0, width, 2, dtype=np.float32) / width)
    smooth = (old / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    return np.where(waves < old / high, 1.0, np.where(waves > old / low, factor, between)).astype(np.float32)


def permuted(weight: Array, heads: int) -> Array:
    """Rows of query or key in llama.cpp's order of rotary pairs: (first half, second half) of a head interleaved."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def heads_of(name: str, config: Any) -> int | None:
    """Heads of a query or key projection; None for any other tensor."""
    if ".q_proj." in name:
        return int(config.num_attention_heads)
    return int(config.num_key_value_heads) if ".k_proj." in name else None


def add_weights(writer: Any, tensors: Iterator[tuple[str, Array]], config: Any, quantization: Quantization) -> None:
    """Every tensor of a merged model, given by transformers' name as float32."""
    gguf = load_gguf()
    architecture = architecture_of(config)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.name), config.num_hidden_layers)
    kinds = gguf.GGMLQuantizationType
    matrix = {"f16": kinds.F16, "q8_0": kinds.Q8_0, "q4_0": kinds.Q4_0}[quantization]
    for name, value in tensors:
        if name == "lm_head.weight" and getattr(config, "tie_word_embeddings", False):
            continue
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise UsageError(f"the weight {name} has no place in a GGUF file of this architecture.")
        heads = heads_of(name, config) if architecture.permuted else None
        data = value if heads is None else permuted(value, heads)
        outer = target.startswith(("token_embd.", "output."))
        if data.ndim < 2:
            kind = kinds.F32
        elif quantization != "f16" and data.shape[-1] % BLOCK:
            kind = kinds.F16
        elif quantization == "q4_0" and outer:  # llama.cpp's own quantiser keeps more of them too
            kind = kinds.Q8_0
        else:
            kind = matrix
        if kind == kinds.F16 and np.abs(data).max() > np.finfo(np.float16).max:
            raise UsageError(f"the weight {name} is too large for float16: export another type.")
        writer.add_tensor(target, gguf.quants.quantize(data, kind), raw_dtype=kind)
    factors = rope_factors(config)
    if factors is not None:
        writer.add_tensor(names.get_name("rope_freqs", try_suffixes=(".weight",)) or "rope_freqs.weight", factors)


def add_lora(writer: Any, tensors: Iterator[tuple[str, Array]], config: Any) -> None:
    """The two factors of every adapted layer, given by PEFT's name as float32."""
    gguf = load_gguf()
    architecture = architecture_of(config)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.name), config.num_hidden_layers)
    for name, value in tensors:
        plain = name.removeprefix("base_model.model.")
        layer, _, factor = plain.partition(".lora_")
        target = names.get_name(f"{layer}.weight", try_suffixes=(".weight",))
        side = factor.partition(".")[0].lower()
        if target is None or side not in ("a", "b"):
            raise UsageError(f"the adapter's weight {name} has no place in a GGUF adapter.")
        heads = heads_of(plain, config) if architecture.permuted and side == "b" else None
        data = value if heads is None else permuted(value, heads)
        writer.add_tensor(f"{target}.lora_{side}", data.astype(np.float32))


def write(path: Path, architecture: str, fill: Callable[[Any], None]) -> None:
    """A GGUF file, whole or not at all; `fill` gives the writer its fields and tensors."""
    gguf = load_gguf()
    aside = path.with_name(f".{path.name}.aside")
    writer = gguf.GGUFWriter(aside, architecture)
    try:
        fill(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
