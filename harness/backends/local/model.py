"""One loaded model as the decoders use it: rows of tokens in, logits of the last positions out."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.backends.local.architecture import UNBOUNDED, windows_of
from harness.backends.local.batching import CPU_CACHE_BYTES
from harness.prompting.chat_rendering import Renderer


@contextmanager
def last_mlp_at(backbone: Any, columns: Tensor) -> Iterator[None]:
    """Within the block the last layer's MLP runs on `columns` [rows, k] of its input [rows, columns, hidden].

    Every other column of the backbone's output is then meaningless. Models without Llama's kind of MLP are
    left as they are.
    """
    layers = getattr(backbone, "layers", None)
    mlp = getattr(layers[-1], "mlp", None) if layers else None
    if mlp is None or not hasattr(mlp, "down_proj"):
        yield
        return
    rows = torch.arange(len(columns), device=columns.device)[:, None]

    width = 0

    def narrow(_module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        nonlocal width
        width = args[0].shape[1]
        return (args[0][rows, columns],)

    def widen(_module: Any, _args: Any, out: Tensor) -> Tensor:
        wide = out.new_zeros(len(out), width, out.shape[-1])
        wide[rows, columns] = out
        return wide

    hooks = [mlp.register_forward_pre_hook(narrow), mlp.register_forward_hook(widen)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class PaddedBatch(NamedTuple):
    """A batch of rows, padded on the left so that all prompts end in the same column.

    ids, positions: [rows, columns]; mask: [rows, 1, columns, prefix + columns], true where a column may look;
    valid: [rows, prefix + columns], true where a column holds a token; keys: [rows, prefix + columns], the position
    of each column that is looked at.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    valid: Tensor
    keys: Tensor


@dataclass
class LoadedModel:
    """A causal language model, its renderer, its device and the longest sequence it may see (tokens).

    batched_limit: tokens up to which rows are computed together; longer ones, and all of a model with 0, one by one.
    """

    model: Any
    renderer: Renderer
    device: torch.device
    context: int
    batched_limit: int = UNBOUNDED

    @property
    def backbone(self) -> Any:
        """The model without its output layer: hidden states out."""
        return self.model.base_model

    @property
    def vocabulary(self) -> int:
        """Width of the output layer, where the model names it; else of the vocabulary."""
        layer = self.model.get_output_embeddings()
        width = getattr(layer, "out_features", None)
        return int(width or self.model.config.get_text_config().vocab_size)

    @cached_property
    def _arguments(self) -> frozenset[str]:
        """Names of what the model's forward pass takes: they differ between architectures and versions."""
        return frozenset(inspect.signature(self.model.forward).parameters)

    def max_batch_rows(self, tokens: int) -> int:
        """Rows of so many tokens, shared ones included, whose keys and values a CPU may hold at once.

        An accelerator says itself when its memory ends; a machine's own memory does not.
        """
        if self.device.type != "cpu" or not self.batched_limit:
            return 1 << 20
        config = self.model.config.get_text_config()
        try:
            head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
            heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        except (AttributeError, TypeError, RuntimeError):  # sizes that differ by layer
            head, heads = config.hidden_size, 1
        token_bytes = int(2 * config.num_hidden_layers * heads * head * self.model.dtype.itemsize)
        return max(1, CPU_CACHE_BYTES // (token_bytes * tokens))

    def pack(self, rows: Sequence[Sequence[int]], prefix: int, tail: "Tail | None" = None) -> PaddedBatch:
        """Rows (their own tokens, behind `prefix` shared ones) side by side, each followed by the tail."""
        extra = len(tail.tokens) if tail else 0
        width = max(len(row) for row in rows)
        columns = width + extra
        ids = torch.zeros((len(rows), columns), dtype=torch.long)
        lengths = torch.tensor([len(row) for row in rows])
        for i, row in enumerate(rows):
            ids[i, width - len(row) : width] = torch.tensor(row)
        pads = (width - lengths)[:, None]
        positions = prefix + (torch.arange(columns)[None] - pads).clamp(min=0)
        look = torch.ones(columns, columns, dtype=torch.bool).tril()
        if tail:
            ids[:, width:] = torch.tensor(tail.tokens)
            positions[:, width:] = prefix + lengths[:, None] + torch.tensor(tail.depths)[None]
            look[width:, width:] = torch.tensor(tail.sees)
        own = torch.arange(columns)[None] >= pads
        # A padding column looks at itself, so that no row of the softmax is empty.
        mask = (own[:, None] & look[None]) | torch.eye(columns, dtype=torch.bool)
        mask = torch.cat([torch.ones(len(rows), columns, prefix, dtype=torch.bool), mask], dim=-1)
        valid = torch.cat([torch.ones(len(rows), prefix, dtype=torch.bool), own], dim=-1)
        keys = torch.cat([torch.arange(prefix).expand(len(rows), -1), positions], dim=-1)
        return PaddedBatch(*(t.to(self.device) for t in (ids, positions, mask[:, None], valid, keys)))

    def logits(self, packed: PaddedBatch, cache: Any, keep: int) -> Tensor:
        """Logits of the last `keep` columns: [rows, keep, vocabulary], in the model's own type."""
        ids = packed.ids
        options: dict[str, Any] = {"use_cache": cache is not None}
        if cache is not None:  # transformers renamed the argument in 5.24
            options["cache" if "cache" in self._arguments else "past_key_values"] = cache
        if "logits_to_keep" in self._arguments:
            options["logits_to_keep"] = keep
        last = torch.arange(ids.shape[1] - keep, ids.shape[1], device=self.device).expand(len(ids), -1)
        with last_mlp_at(self.backbone, last):
            out = self.model(
                input_ids=ids, position_ids=packed.positions, attention_mask=self._attention_mask(packed), **options
            )
        return out.logits[:, -keep:]  # type: ignore[no-any-return]

    def step(self, tokens: Sequence[int], positions: Tensor, valid: Tensor, cache: Any) -> Tensor:
        """One more token a row, at `positions` [rows, 1]; valid covers it too. Logits [rows, vocabulary]."""
        ids = torch.tensor([[token] for token in tokens], device=self.device)
        packed = PaddedBatch(ids, positions, valid[:, None, None], valid, valid.cumsum(-1) - 1)
        return self.logits(packed, cache, 1)[:, -1]

    def _attention_mask(self, packed: PaddedBatch) -> Any:
        """The mask in the form that the model's attention takes; for layers with a sliding window one of their own."""
        windows = windows_of(self.model.config)
        if windows is None:
            return self._additive_mask(packed.mask)
        distance = packed.positions[:, None, :, None] - packed.keys[:, None, None, :]
        near = self._additive_mask(packed.mask & (distance < windows.tokens))
        if not windows.by_kind:
            return near
        return {"full_attention": self._additive_mask(packed.mask), "sliding_attention": near}

    def _additive_mask(self, mask: Tensor) -> Tensor:
        # Eager attention adds its mask; a CPU's fused attention would turn a boolean one into this in every layer.
        if self.device.type != "cpu" and self.model.config._attn_implementation != "eager":
            return mask
        dtype = self.model.dtype
        return torch.where(mask, torch.zeros((), dtype=dtype, device=mask.device), torch.finfo(dtype).min)


class Tail(NamedTuple):
    """Tokens put behind every row: `depths` counts from the prompt's end, `sees[i][j]`: i may look at j."""

    tokens: list[int]
    depths: list[int]
    sees: list[list[bool]]


@contextmanager
def float32_output(model: Any) -> Iterator[None]:
    """The output layer in float32 while the block runs, whatever the weights' type.

    In bfloat16 the best labels of 2-12 % of rows tie; in float32 they do not.
    """
    layer: Any = model.get_output_embeddings()
    if type(layer) is not nn.Linear or layer.weight.dtype == torch.float32:
        yield
        return

    def forward(hidden: Tensor) -> Tensor:
        bias = None if layer.bias is None else layer.bias.float()
        return nn.functional.linear(hidden.float(), layer.weight.float(), bias)

    wrapped = vars(layer).get("forward")  # placed there by whoever dispatched the model
    layer.forward = forward  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del layer.forward
        if wrapped is not None:
            layer.forward = wrapped  # type: ignore[method-assign]
