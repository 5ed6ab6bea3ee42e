"""The base with a fresh LoRA adapter on it: every trainable weight in float32, the head too."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training

from harness.errors import UsageError
from harness.local.base import BaseFiles
from harness.local.loading import DTYPES, LOAD_ERRORS, Placement, first_line, quantized
from harness.local.model_loading import model_loading

from .recipe import Recipe

NO_TOKEN = -1
"""The padding token of a classification head in training. A head reads the last token that is not padding; batches are
padded on the left, so with an id that no token has the last column is read, whatever token stands there."""


def load_base(files: BaseFiles, placement: Placement, recipe: Recipe, labels: tuple[str, ...]) -> Any:
    """The base's weights, with a classification head drawn from the seeded generator where the recipe wants one.

    Raises UsageError where they cannot be loaded.
    """
    options: dict[str, Any] = {
        "dtype": DTYPES[placement.dtype],
        "attn_implementation": placement.attention,
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
        **quantized(recipe.quantization, placement),
    }
    kind: Any = transformers.AutoModelForCausalLM
    if recipe.objective == "head":
        kind = transformers.AutoModelForSequenceClassification
        options["num_labels"] = len(labels)
    try:
        with model_loading():
            model = kind.from_pretrained(str(files.folder), **options)
    except LOAD_ERRORS as error:
        raise UsageError(f"base model {files.name} cannot be loaded: {first_line(error)}.") from error
    model.config.use_cache = False
    if recipe.objective == "head":
        model.config.get_text_config().pad_token_id = NO_TOKEN
    return model


def with_adapter(model: Any, recipe: Recipe) -> Any:
    """Wrap a base in a fresh LoRA adapter; everything that is trained is float32."""
    if recipe.quantization == "nf4":
        # The training loop turns recomputing on, under its present name.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    lora = recipe.lora
    config = LoraConfig(
        task_type="SEQ_CLS" if recipe.objective == "head" else "CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_linear_layers(model) if lora.targets == "all-linear" and _has_experts(model) else lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
    )
    try:
        with quiet_peft():
            wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"recipe: [lora] does not fit the base: {first_line(error)}.") from error
    fused = sorted(getattr(wrapped.peft_config["default"], "target_parameters", None) or [])
    if fused:
        raise UsageError(
            f"recipe: [lora] targets reach the fused weights of experts ({', '.join(fused)}), and such an adapter "
            "could be neither asked nor merged: say --set lora.targets=all-linear, which trains the layers beside them."
        )
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def _has_experts(model: Any) -> bool:
    """Whether the model keeps the weights of its experts fused in tensors [experts, .., ..], which are no layers."""
    return any(p.dim() == 3 and "expert" in name for name, p in model.named_parameters())


def _linear_layers(model: Any) -> list[str]:
    """Names of all linear layers but for the output layer: PEFT's "all-linear" would add an experts' fused weights.

    Layers of attention by their last name, as servers know them; those beside experts by the whole one, because PEFT
    takes `gate_proj` alone for the experts' weights.
    """
    outer = {id(model.get_output_embeddings()), id(getattr(model, "score", None))}
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and id(m) not in outer]
    return sorted({name.rpartition(".")[2] if "attn" in name or "attention" in name else name for name in linear})


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """PEFT asks a model about checkpointing under a name that transformers has retired: that is not the user's care."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def trainable_weights(model: PeftModel) -> dict[str, torch.nn.Parameter]:
    """The weights that training moves, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
