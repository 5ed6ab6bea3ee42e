"""Dropout of an adapter's inputs on CPUs, whose masks are made of 16 random bits an element.

PyTorch's own draws one number for each element, one after the other, which takes as long as a twentieth of a training
step. Four elements share one 64-bit draw here. The masks come from PyTorch's default generator, so a seed, a
checkpoint and recomputed activations give the same ones again.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 1 << 16
"""Probabilities that 16 bits distinguish."""


def keep_mask(shape: torch.Size, dropped: int) -> Tensor:
    """Booleans of a shape, each False with probability `dropped` / STEPS, independently of all others."""
    count = math.prod(shape)
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)  # all 64 bits are random
    return bits.view(torch.int16)[:count].view(shape) >= dropped - STEPS // 2


class _Dropped(torch.autograd.Function):
    """Kept elements divided by the share that is kept; the mask is saved as booleans."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        mask = keep_mask(x.shape, dropped)
        ctx.save_for_backward(mask)
        ctx.scale = STEPS / (STEPS - dropped)
        return (x * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (gradients[0] * mask).mul_(ctx.scale), None


class PackedDropout(nn.Dropout):
    """nn.Dropout with the probability rounded to a multiple of 1 / STEPS, on CPUs; elsewhere PyTorch's own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that nn.Dropout gives it)
        """Of a tensor of any shape."""
        dropped = round(self.p * STEPS)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < STEPS:
            return super().forward(input)
        result: Tensor = _Dropped.apply(input, dropped)  # type: ignore[no-untyped-call]
        return result


def pack_dropout(model: nn.Module) -> None:
    """Exchange the dropout layers of a LoRA adapter, in place."""
    for module in model.modules():
        layers = getattr(module, "lora_dropout", None)
        if isinstance(layers, nn.ModuleDict):
            for name, layer in layers.items():
                if type(layer) is nn.Dropout:
                    layers[name] = PackedDropout(layer.p)
