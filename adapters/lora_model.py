"""The base with a fresh LoRA adapter: precision of its weights, and sharding over devices (FSDP2)."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training

from harness.adapters.recipe import Recipe
from harness.backends.local.base_files import BaseFiles
from harness.backends.local.model_loading import model_loading
from harness.backends.local.weight_loading import LOAD_ERRORS, Placement, first_line, quantized, read_weights
from harness.errors import UsageError

NO_TOKEN = -1
"""The padding token of a classification head in training. A head reads the last token that is not padding; batches are
padded on the left, so with an id that no token has the last column is read, whatever the token is."""


def load_base(files: BaseFiles, placement: Placement, recipe: Recipe, labels: tuple[str, ...]) -> Any:
    """The base's weights, with a classification head drawn from the seeded generator where the recipe wants one.

    Raises UsageError where they cannot be loaded.
    """
    options: dict[str, Any] = quantized(recipe.quantization, placement)
    kind: Any = transformers.AutoModelForCausalLM
    if recipe.objective == "head":
        kind = transformers.AutoModelForSequenceClassification
        options["num_labels"] = len(labels)
    try:
        with model_loading():
            model = read_weights(files, placement, kind, **options)
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
            "could be neither asked nor merged: use --set lora.targets=all-linear, which trains the layers beside them."
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

    Routers that an architecture derives from a linear layer are left out: they return more than a tensor.

    Layers of attention by their last name, as servers know them; those beside experts by the whole one, because PEFT
    takes `gate_proj` alone for the experts' weights.
    """
    outer = {id(model.get_output_embeddings()), id(getattr(model, "score", None))}
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and id(module) not in outer
        and not type(module).__module__.startswith("transformers.models")
    ]
    return sorted({name.rpartition(".")[2] if "attn" in name or "attention" in name else name for name in linear})


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """What PEFT says that is not the user's care: it asks about checkpointing under a name that transformers has
    retired, and corrects `fan_in_fan_out` by itself where a base (GPT-2) has transposed layers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to", UserWarning)
        yield


def trainable_weights(model: PeftModel) -> dict[str, torch.nn.Parameter]:
    """The weights that training moves, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def precision_arguments(dtype: str, device: str) -> dict[str, Any]:
    """TrainingArguments for autocast to the base's type.

    bfloat16 on a CPU too, because a layer whose trained weights are float32 takes its 16-bit input only so; float16
    (cards below compute capability 8) with a scaled loss, on a card only.
    """
    return {"bf16": dtype == "bfloat16", "fp16": dtype == "float16" and device != "cpu"}


def check_device(recipe: Recipe, placement: Placement) -> None:
    """Refuse what the device cannot do. Raises UsageError."""
    if placement.device.startswith("cuda"):
        return
    if recipe.quantization == "nf4" and placement.device != "cpu":
        raise UsageError(f"4-bit weights run on CUDA cards and CPUs, not on {placement.device}: set quantization=none.")
    if recipe.dtype == "float16":
        raise UsageError("float16 trains on a card only: use --set dtype=bfloat16, or float32.")


def slow_on(recipe: Recipe, device: str) -> list[str]:
    """What to expect of a device, in sentences; usually nothing."""
    if recipe.quantization != "nf4" or device != "cpu":
        return []
    return [
        "4-bit weights are unpacked at every step, which takes a CPU several times as long as whole weights "
        "(--set quantization=none)."
    ]


def sharding_arguments(recipe: Recipe) -> dict[str, Any]:
    """TrainingArguments for the recipe's sharding and activation checkpointing."""
    recompute = bool(recipe.activation_checkpointing)
    if recipe.sharding == "none":
        return {"activation_checkpointing": recompute}
    settings = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",  # one checkpoint for any number of processes
        "activation_checkpointing": recompute,
    }
    return {"fsdp": True, "fsdp_config": settings}


def is_sharded(model: Any) -> bool:
    """Whether a live model's weights lie on several devices."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def trained_weights(model: Any) -> dict[str, Any] | None:
    """The whole trained weights of a sharded model, on the CPU, gathered by all processes; None for any other model."""
    if not is_sharded(model):
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return dict(get_model_state_dict(model, options=options))


@contextlib.contextmanager
def whole_outside_layers(model: Any) -> Iterator[None]:
    """While the block runs, what belongs to no layer of a sharded model (a classification head) is whole everywhere."""
    if not is_sharded(model):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()
