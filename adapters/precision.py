"""The types a training computes in: frozen weights in 16 bits where the device has them, trained ones in float32."""

from typing import Any

from harness.errors import UsageError
from harness.local.loading import Placement

from .recipe import Recipe


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
        raise UsageError("float16 trains on a card only: say --set dtype=bfloat16, or float32.")


def slow_on(recipe: Recipe, device: str) -> list[str]:
    """What to expect of a device, in sentences; usually nothing."""
    if recipe.quantization != "nf4" or device != "cpu":
        return []
    return [
        "4-bit weights are unpacked at every step, which takes a CPU several times as long as whole weights "
        "(--set quantization=none)."
    ]
