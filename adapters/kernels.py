"""Faster kernels where they are installed and the device has them."""

from typing import Any

from transformers.utils.import_utils import is_liger_kernel_available

from .recipe import Recipe


def kernel_arguments(recipe: Recipe, device: str) -> dict[str, Any]:
    """TrainingArguments that turn Liger's kernels on: on CUDA, where liger-kernel is installed, unless forbidden.

    Its fused losses stay off: the loss here is on answers only, and a classification head has another forward.
    """
    if recipe.kernels == "none" or not device.startswith("cuda") or not is_liger_kernel_available():
        return {}
    return {
        "use_liger_kernel": True,
        "liger_kernel_config": {"fused_linear_cross_entropy": False, "cross_entropy": False},
    }
