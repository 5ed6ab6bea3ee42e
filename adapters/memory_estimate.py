"""What a training holds in memory, reckoned before anything is loaded."""

from typing import Any, NamedTuple

import msgspec
import torch
import transformers

from harness.adapters.lora_model import trainable_weights, with_adapter
from harness.adapters.recipe import Recipe
from harness.backends.local.architecture import read_config
from harness.backends.local.base_files import BaseFiles
from harness.backends.local.model_loading import model_loading
from harness.backends.local.weight_loading import DTYPES, LOAD_ERRORS, Placement, first_line
from harness.errors import UsageError

ROOM = 0.9
"""The share of a GPU's free memory that a training may plan with."""


class Sizes(NamedTuple):
    """All weights, trained weights, width, layers and vocabulary of a base with its adapter.

    quantised: frozen weights that 4 bits hold: those of linear layers, but for the output layer.
    """

    weights: int
    trained: int
    quantised: int
    hidden: int
    layers: int
    vocabulary: int


def sizes(files: BaseFiles, recipe: Recipe, labels: int) -> Sizes:
    """Counted on the meta device: nothing is loaded. Raises UsageError where the adapter does not fit the base."""
    config = read_config(files)
    kind: Any = transformers.AutoModelForCausalLM
    if recipe.objective == "head":
        kind, config.num_labels = transformers.AutoModelForSequenceClassification, labels
    plain = msgspec.structs.replace(recipe, quantization="none")
    try:
        with model_loading(), torch.device("meta"):
            base = kind.from_config(config)
    except LOAD_ERRORS as error:
        what = "classification head" if recipe.objective == "head" else "causal language model"
        raise UsageError(
            f"base model {files.name}: transformers makes no {what} of model_type '{config.model_type}' "
            f"({first_line(error)[:120]}): name another base."
        ) from None
    with torch.device("meta"):
        model = with_adapter(base, plain)
    inner = config.get_text_config()
    trained = sum(p.numel() for p in trainable_weights(model).values())
    everything = sum(p.numel() for p in model.parameters())
    linear = {id(m.weight): m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)}
    outer = {id(m.weight) for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None}
    quantised = sum(w.numel() for key, w in linear.items() if key not in outer and not w.requires_grad)
    return Sizes(everything, trained, quantised, inner.hidden_size, inner.num_hidden_layers, inner.vocab_size)


def needed(
    size: Sizes, recipe: Recipe, placement: Placement, longest: int, answer: int, *, recompute: bool
) -> dict[str, int]:
    """Bytes by purpose, for the longest batch of one process; longest, answer: tokens of a row and of an answer.

    Base weights in their type (those in 4 bits with their scales 0.53 bytes each, and then all others in float32);
    trained weights, gradients and two Adam moments in float32; activations 34 bytes a token, unit of width and
    layer in 16 bits, twice that in 32 (Korthikanti et al., 2022, without the attention map), or the layers' inputs
    alone when they are recomputed; float32 logits of the answer columns, three copies.
    """
    wide = DTYPES[placement.dtype].itemsize
    frozen = size.weights - size.trained
    base = frozen * wide
    if recipe.quantization == "nf4":  # PEFT makes the weights that stay whole float32
        base = round(size.quantised * 0.53 + (frozen - size.quantised) * 4)
    per_unit = wide if recompute else 17 * wide
    parts = {
        "base": base,
        "adapter": size.trained * 16,
        "activations": recipe.batch * longest * size.hidden * size.layers * per_unit,
        "logits": recipe.batch * answer * size.vocabulary * 12,
    }
    return {**parts, "total": sum(parts.values())}


def recomputes(recipe: Recipe, total: int, free: int | None) -> bool:
    """Whether activations are recomputed (activation checkpointing): as the recipe says, else where memory asks for it.

    total: bytes needed without it; free: bytes of the device, None where nobody counts them (a CPU).
    """
    if recipe.activation_checkpointing is not None:
        return recipe.activation_checkpointing
    return free is not None and total > ROOM * free


def free_bytes(device: str) -> int | None:
    """Free memory of a CUDA device; None for others."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.startswith("cuda") else None
