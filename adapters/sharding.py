"""A base spread over several devices (FSDP2), for weights that one device cannot hold.

transformers' Trainer and accelerate wrap each decoder layer, the embedding and the output layer; trained weights stay
float32 beside frozen ones of the base's type.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from .recipe import Recipe


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
