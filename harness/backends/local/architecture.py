"""What a base's configuration says of its architecture, read before any weight is loaded."""

from typing import Any, NamedTuple

import transformers

from harness.backends.local.base_files import BaseFiles
from harness.backends.local.model_loading import model_loading
from harness.errors import UsageError

LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "context_length",
)
"""Names under which configurations give the longest sequence, in the order of trust."""

UNBOUNDED = 1 << 20
"""Tokens of a sequence where nothing bounds it (a recurrent model)."""

GROWING_ROPE = ("dynamic", "longrope")
"""Rotary embeddings whose frequencies depend on the longest sequence of a batch."""


class AttentionWindows(NamedTuple):
    """Sliding windows of a model's attention: `tokens` each column looks back at, in some layers or in all.

    by_kind: the model takes one mask for each kind of layer ("full_attention", "sliding_attention").
    """

    tokens: int
    by_kind: bool


def read_config(files: BaseFiles) -> Any:
    """The configuration. Raises UsageError for a kind of model that the installed transformers does not know."""
    try:
        with model_loading():
            return transformers.AutoConfig.from_pretrained(
                str(files.folder), local_files_only=True, trust_remote_code=False
            )
    except (ValueError, KeyError, OSError, TypeError, AttributeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"base model {files.name}: transformers {transformers.__version__} cannot read its config.json: {line}."
        ) from None


def model_class(files: BaseFiles, config: Any) -> Any:
    """The class of its causal language model. Raises UsageError where transformers has none for this kind of model."""
    mapping: Any = transformers.AutoModelForCausalLM._model_mapping
    found = mapping.get(type(config), None)
    if isinstance(found, tuple):
        named = [c for c in found if c.__name__ in (config.architectures or [])]
        found = (named or list(found))[0]
    if found is None:
        raise UsageError(
            f"base model {files.name}: transformers {transformers.__version__} has no causal language model for "
            f"model_type '{config.model_type}': serve it, and ask it with an openai backend."
        )
    return found


def best_attention(files: BaseFiles) -> str:
    """The attention implementation that `attention = "auto"` stands for: sdpa where the architecture has it."""
    return "sdpa" if getattr(model_class(files, read_config(files)), "_supports_sdpa", False) else "eager"


def stored_dtype(files: BaseFiles) -> str | None:
    """The type of the base's weights as its configuration names it ("bfloat16"); None where it does not."""
    dtype = getattr(read_config(files).get_text_config(), "dtype", None)
    return None if dtype is None else str(dtype).removeprefix("torch.")


def context_of(config: Any) -> int:
    """Tokens of the longest sequence. A sliding window is no bound: layers that look back further carry the rest."""
    text = config.get_text_config()
    lengths = (getattr(text, name, None) for name in LENGTHS)
    return next((int(n) for n in lengths if isinstance(n, int) and n > 0), UNBOUNDED)


def windows_of(config: Any) -> AttentionWindows | None:
    """The sliding windows in use, or None where every column looks back at all before it."""
    text = config.get_text_config()
    tokens = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    unused = getattr(text, "use_sliding_window", True) is False
    if not isinstance(tokens, int) or tokens <= 0 or (unused if kinds is None else "sliding_attention" not in kinds):
        return None
    return AttentionWindows(tokens, by_kind=kinds is not None)


def batched_limit(config: Any) -> int:
    """Tokens up to which rows of different lengths may share a batch and a prefix without changing their numbers.

    Longer rows of a model with chunked or local attention, or whose rotary frequencies depend on the longest row, are
    computed one by one.
    """
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    nested = [part for part in rope.values() if isinstance(part, dict)] if isinstance(rope, dict) else []
    limits = [
        part.get("original_max_position_embeddings") or context_of(config)
        for part in nested or [rope]
        if part.get("rope_type", part.get("type")) in GROWING_ROPE
    ]
    kinds = set(getattr(text, "layer_types", None) or [])
    if "chunked_attention" in kinds:
        limits.append(text.attention_chunk_size)
    if "local" in (getattr(text, "attention_layers", None) or []):  # GPT-Neo
        limits.append(text.window_size)
    return min((int(n) for n in limits if n), default=UNBOUNDED)
