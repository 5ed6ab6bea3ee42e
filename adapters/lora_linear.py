"""A linear layer with its LoRA adapter as one operation, for training on CPUs.

PEFT computes `base(x) + B(A(dropout(x))) * scaling` as five operations, each with passes over activations of a layer's
full width, and keeps a dropped copy of its input for every layer. Here the narrow product (r columns) is scaled instead
of the wide one, the sum is taken while B is multiplied, and what is kept for the backward pass is the input (which
layers that read the same one share), the mask in bytes and the narrow product. The mask is drawn as `PackedDropout`
draws it, so a seed gives the same masks either way; numbers are PEFT's up to rounding.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn

from harness.adapters.lora_dropout import STEPS, PackedDropout, keep_mask


class _LoraLinear(torch.autograd.Function):
    """x [tokens, in], weight [out, in] and bias [out] frozen, a [r, in], b [out, r] -> [tokens, out]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float, dropped: int
    ) -> Tensor:
        mask = keep_mask(x.shape, dropped).view(torch.uint8) if dropped else None  # bytes multiply four times faster
        kept = x if mask is None else x * mask
        scale = scaling * STEPS / (STEPS - dropped)
        narrow = kept @ a.t()
        out = torch.nn.functional.linear(x, weight, bias)
        out.addmm_(narrow, b.t(), alpha=scale)
        ctx.save_for_backward(x, mask, weight, a, b, narrow)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, mask, weight, a, b, narrow = ctx.saved_tensors
        of_narrow = (b.t() @ gradient.t()).t().mul(ctx.scale)
        of_a = of_narrow.t() @ (x if mask is None else x * mask)
        of_b = (narrow.t() @ gradient).mul_(ctx.scale).t()
        of_x: Tensor | None = None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
            if mask is None:
                of_x.addmm_(of_narrow, a)
            else:
                of_x.add_((of_narrow @ a).mul_(mask))
        return of_x, None, None, of_a, of_b, None, None


def _dropped(dropout: nn.Module, training: bool) -> int | None:
    """What a dropout layer drops, in parts of STEPS; None where it is another layer than those known here."""
    if type(dropout) is nn.Identity or (type(dropout) is PackedDropout and not training):
        return 0
    if type(dropout) is not PackedDropout:
        return None
    dropped = round(dropout.p * STEPS)
    return dropped if dropped < STEPS else None


def _plain(layer: Linear, x: Tensor) -> tuple[Any, ...] | None:
    """The arguments of `_LoraLinear` behind x, where this layer and input are of the plain kind; else None."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1 or layer.disable_adapters or layer.merged or active[0] in layer.lora_variant:
        return None
    base, a, b = layer.base_layer, layer.lora_A[active[0]], layer.lora_B[active[0]]
    dropped = _dropped(layer.lora_dropout[active[0]], layer.training)
    frozen = [base.weight, *([] if base.bias is None else [base.bias])]
    if dropped is None or b.bias is not None or any(weight.requires_grad for weight in frozen):
        return None
    weights = [*frozen, a.weight, b.weight]
    if x.device.type != "cpu" or any(w.dtype != x.dtype or w.device != x.device for w in weights):
        return None
    return base.weight, base.bias, a.weight, b.weight, layer.scaling[active[0]], dropped


class FusedLinear(Linear):
    """PEFT's adapted linear layer; one operation where nothing but the plain adapter is asked for, else PEFT's own."""

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """x: [.., in] -> [.., out]."""
        plain = None
        if not args and not options and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu"):
            plain = _plain(self, x)
        if plain is None:
            return super().forward(x, *args, **options)
        out: Tensor = _LoraLinear.apply(x.reshape(-1, x.shape[-1]), *plain)  # type: ignore[no-untyped-call]
        return out.view(*x.shape[:-1], -1)


def fuse_lora(model: nn.Module) -> None:
    """Let the LoRA layers of a PEFT model that adapt a plain `nn.Linear` compute as one operation, in place."""
    for module in model.modules():
        if type(module) is Linear and type(module.base_layer) is nn.Linear:
            module.__class__ = FusedLinear  # in place: weights, hooks and the names of a saved adapter stay
