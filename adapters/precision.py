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


def check_card(recipe: Recipe, placement: Placement) -> None:
    """Refuse what needs a CUDA card where there is none. Raises UsageError."""
    if placement.device.startswith("cuda"):
        return
    plain = "--set quantization=none --set optimizer=adamw_torch"
    if recipe.quantization == "nf4":
        raise UsageError(f"a training on 4-bit weights wants a CUDA card, and there is none here: say {plain}.")
    if "8bit" in recipe.optimizer or "paged" in recipe.optimizer:
        raise UsageError(
            f"optimizer {recipe.optimizer} wants a CUDA card, and there is none here: say --set optimizer=adamw_torch."
        )
    if recipe.dtype == "float16":
        raise UsageError("float16 trains on a card only: say --set dtype=bfloat16, or float32.")
