"""An adapter's low-rank step, added into the base layer's own output.

PEFT's layers make three passes over the output (scale, add, cast); `addmm` does it in the second small product.
With rank 16 on all layers of a small model that is a tenth of the whole work.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def fused(layer: Any, name: str) -> Callable[[Tensor], Tensor] | None:
    """The forward pass of a PEFT layer under adapter `name`: base(x) + scaling * (x A^T) B^T.

    For inference only (the base's output is added to in place). None where PEFT's own must serve: other kinds
    than plain LoRA on a plain linear layer, or factors in another type than the base.
    """
    base = layer.base_layer
    if type(base) is not nn.Linear or name not in getattr(layer, "lora_A", {}) or name in layer.lora_variant:
        return None
    down, up, scaling = layer.lora_A[name], layer.lora_B[name], float(layer.scaling[name])
    if up.bias is not None or {down.weight.dtype, up.weight.dtype} != {base.weight.dtype}:
        return None

    def forward(x: Tensor) -> Tensor:
        out: Tensor = base(x)
        flat = x.reshape(-1, x.shape[-1])
        out.view(-1, out.shape[-1]).addmm_(flat @ down.weight.T, up.weight.T, alpha=scaling)
        return out

    return forward
