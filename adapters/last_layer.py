"""The feed-forward block of the last decoder layer, computed only at the columns that predict an answer.

No later layer attends to what the last one computes at the other columns, and no logits are taken there, so their
feed-forward outputs reach neither loss nor gradient. They are zero here.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

FindColumns = Callable[[dict[str, Any]], Tensor | None]
"""From the keyword arguments of a decoder layer: the columns that are needed [columns], each once; None: all."""


def last_layer(inner: nn.Module, layers: int) -> nn.Module | None:
    """The last of a transformers model's decoder layers, where its feed-forward block is called `mlp`; else None."""
    stacks = [m for m in inner.modules() if isinstance(m, nn.ModuleList) and len(m) == layers]
    if len(stacks) != 1 or not isinstance(getattr(stacks[0][-1], "mlp", None), nn.Module):
        return None
    return stacks[0][-1]


class NeededColumns:
    """Makes a decoder layer's feed-forward block compute needed columns only, until `remove`.

    The columns are looked up whenever the layer is called, so a layer that is computed again in the backward pass
    (activation checkpointing) finds those of its own batch.
    """

    def __init__(self, layer: nn.Module, find: FindColumns) -> None:
        block: Any = layer.mlp
        self.block = block
        self.find = find
        self.columns: Tensor | None = None
        self._hook = layer.register_forward_pre_hook(self._look, with_kwargs=True)
        self._own = vars(block).get("forward")
        self._whole = block.forward
        block.forward = self._forward

    def remove(self) -> None:
        """Leave the layer as it was."""
        self._hook.remove()
        if self._own is None:
            del self.block.forward  # the class has it
        else:
            self.block.forward = self._own

    def _look(self, _layer: nn.Module, _args: Any, options: dict[str, Any]) -> None:
        self.columns = self.find(options)

    def _forward(self, states: Tensor, *args: Any, **options: Any) -> Any:
        if self.columns is None:
            return self._whole(states, *args, **options)
        needed: Tensor = self._whole(states.index_select(1, self.columns), *args, **options)
        return states.new_zeros(states.shape).index_copy(1, self.columns, needed)
