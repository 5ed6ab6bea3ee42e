"""Micro-batches whose rows begin with the same tokens: the shared prefix is computed once, with gradient.

The rows of a micro-batch become one sequence without padding: the shared prefix, then each row's own tokens. Every
layer but attention works on single tokens and needs no change. Attention is called twice, by an implementation that is
registered with transformers: the prefix attends to itself, and each row attends to the prefix and to itself. Gradients
of all rows add up in the prefix's keys and values, so loss and gradients are those of the padded batch. The model's own
forward pass is called once, as for any batch: activation checkpointing, accumulation, DDP and FSDP2 stay as they are.

Dropout: a prefix token has one mask a micro-batch, where the padded batch draws one for each row. Each row alone sees
masks of the same distribution either way, and a step's loss is a sum over rows, so loss and gradients have the same
expectation; without dropout they are equal.
"""

import inspect
import random
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from harness.adapters import distributed
from harness.adapters.last_layer import NeededColumns, last_layer
from harness.adapters.training_examples import IGNORED, Example, as_items, collate
from harness.backends.local.batching import is_out_of_memory
from harness.backends.local.exactness import equal_up_to_rounding, short_window
from harness.backends.local.kv_cache import shared_length

UNGROUPED = torch.nn.Identity()
"""Stands for an attention module whose key heads have one query head each."""

IMPLEMENTATION = "bench_shared_prefix"
"""The name of the attention implementation; without a shared prefix it is transformers' sdpa."""

LAYOUT = "shared_prefix_layout"
"""The name under which a batch and the mask of an attention layer keep their layout; padded batches have none."""


class Layout(NamedTuple):
    """Where the tokens of several rows lie in one sequence of `tokens` columns: `shared` ones, then each row's own.

    longest: own tokens of the longest row. columns: [rows * longest], the column of each row's tokens, any column where
    a row has no more. places: [tokens - shared], where each own token lies among `columns`. predicting: the columns
    that predict a target, each once.
    """

    tokens: int
    shared: int
    longest: int
    columns: Tensor
    places: Tensor
    predicting: Tensor

    @property
    def rows(self) -> int:
        """How many rows lie in the sequence."""
        return len(self.columns) // self.longest


CHECKED = (6, 5, 7)
"""Tokens of the prefix and of the rows behind it that are computed both ways; the last two of a row are its answer."""

_layout: ContextVar[Layout | None] = ContextVar("layout", default=None)


def collate_shared(examples: Sequence[dict[str, Example]]) -> dict[str, Any]:
    """A batch as one sequence, or padded (`collate`) where its rows do not share enough first tokens.

    "attention_mask" is that of the padded batch: it counts rows and tokens. "input_ids", "position_ids": [1, columns].
    "labels", "targets": [target tokens], what is predicted and the column that predicts it. LAYOUT: fields of Layout.
    Rows without a target (those that fill a step up) are left out of the sequence.
    """
    padded = collate(examples)
    rows = [e["input_ids"] for e in examples if any(token != IGNORED for token in e["input_ids"].answer)]
    texts = [_read(row) for row in rows]
    shared = shared_length(texts)
    if not shared:
        return padded
    own = [len(text) - shared for text in texts]
    longest = max(own)
    ids, positions = texts[0][:shared], list(range(shared))
    columns: list[int] = []
    places: list[int] = []
    labels: list[int] = []
    targets: list[int] = []
    for n, (row, text) in enumerate(zip(rows, texts, strict=True)):
        begin = len(ids)
        for i, token in enumerate(row.answer):
            position = len(row.prompt) - 1 + i
            labels.append(token)
            targets.append(position if position < shared else begin + position - shared)
        ids += text[shared:]
        positions += range(shared, len(text))
        columns += [*range(begin, len(ids)), *[begin] * (longest - own[n])]
        places += range(n * longest, n * longest + own[n])
    return {
        "attention_mask": padded["attention_mask"],
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "labels": torch.tensor(labels),
        "targets": torch.tensor(targets),
        LAYOUT: {
            "tokens": len(ids),
            "shared": shared,
            "longest": longest,
            "columns": torch.tensor(columns),
            "places": torch.tensor(places),
            "predicting": torch.tensor(sorted(set(targets))),
        },
    }


def computed_tokens(examples: Sequence[Example], order: Sequence[int], batch: int) -> int:
    """Tokens that the micro-batches of `order` compute, where each computes what its rows share once."""
    total = 0
    for start in range(0, len(order), batch):
        texts = [_read(examples[n]) for n in order[start : start + batch]]
        total += sum(map(len, texts)) - shared_length(texts) * (len(texts) - 1)
    return total


def _read(example: Example) -> list[int]:
    """The tokens of a row that the model reads."""
    return example.prompt + example.answer[:-1]


def forward(model: Any, inputs: dict[str, Any]) -> Any:
    """The model's output on a batch of `collate_shared` that has a layout; logits: [1, target tokens, vocabulary]."""
    layout = Layout(**inputs[LAYOUT])
    ids, targets = inputs["input_ids"], inputs["targets"]
    keeps = "logits_to_keep" in inspect.signature(_inner(model).forward).parameters
    token = _layout.set(layout)
    try:
        outputs = model(
            input_ids=ids,
            position_ids=inputs["position_ids"],
            attention_mask=torch.ones_like(ids),  # a mask of its own keeps transformers from looking for packed texts
            **({"logits_to_keep": targets} if keeps else {}),
        )
    finally:
        _layout.reset(token)
    if not keeps:
        outputs.logits = outputs.logits[:, targets]
    return outputs


def _inner(model: Any) -> Any:
    """The transformers model below the wrappers of devices and of PEFT."""
    model = getattr(model, "module", model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _make_mask(**options: Any) -> Tensor | None:
    """The mask of an attention layer, by the model's own rule (`mask_function`: causal, sliding window, chunks).

    For rows that share a prefix: [1, 1, positions, positions], since the rule depends on positions alone, which are
    the same for all rows. The mask carries the layout, so a layer that is computed again in the backward pass finds it.
    """
    layout = _layout.get()
    if layout is None:
        return sdpa_mask(**options)
    positions = layout.shared + layout.longest
    if (options["batch_size"], options["q_length"], options["kv_length"]) != (1, layout.tokens, layout.tokens):
        raise ValueError("rows that share a prefix are one sequence, read without a cache")
    options |= {"q_length": positions, "kv_length": positions, "attention_mask": None, "allow_is_causal_skip": False}
    mask = sdpa_mask(**options)
    setattr(mask, LAYOUT, layout)
    return mask


def _attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention of rows that share a prefix; transformers' sdpa where the mask carries no layout.

    query, key, value: [1, heads, columns, head size]. Returns [1, columns, heads, head size].
    """
    layout: Layout | None = getattr(attention_mask, LAYOUT, None)
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    assert attention_mask is not None
    shared = layout.shared

    def own(states: Tensor) -> Tensor:
        picked = states[0].transpose(0, 1).index_select(0, layout.columns)
        return picked.view(layout.rows, layout.longest, *picked.shape[1:]).transpose(1, 2)

    def behind_shared(states: Tensor) -> Tensor:
        first = states[:, :, :shared].expand(layout.rows, -1, -1, -1)
        return torch.cat([first, own(states)], dim=2)

    first = _attend_grouped(
        module,
        query[:, :, :shared],
        key[:, :, :shared],
        value[:, :, :shared],
        attention_mask[..., :shared, :shared],
        **options,
    )
    rows = _attend_grouped(
        module, own(query), behind_shared(key), behind_shared(value), attention_mask[..., shared:, :], **options
    )
    packed = rows.flatten(0, 1).index_select(0, layout.places)
    return torch.cat([first, packed[None]], dim=1), None


def _attend_grouped(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **options: Any
) -> Tensor:
    """transformers' sdpa; query heads that share a key head become further queries of it, so keys are not repeated.

    query: [rows, heads, queries, head size]. key, value: [rows, key heads, keys, head size]. mask: [1, 1, queries,
    keys]. Returns [rows, queries, heads, value size].
    """
    rows, heads, queries, size = query.shape
    groups = heads // key.shape[1]
    if groups == 1 or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, mask, **options)[0]
    query = query.reshape(rows, key.shape[1], groups * queries, size)
    options |= {"is_causal": False}  # the mask says so
    out, _ = sdpa_attention_forward(UNGROUPED, query, key, value, mask.repeat(1, 1, groups, 1), **options)
    split: Tensor = out.view(rows, groups, queries, key.shape[1], -1)
    return split.permute(0, 2, 3, 1, 4).flatten(2, 3)


def _predicting(options: dict[str, Any]) -> Tensor | None:
    """The columns that predict a target, of the mask among a layer's arguments; None where there is no layout."""
    layout: Layout | None = getattr(options.get("attention_mask"), LAYOUT, None)
    return None if layout is None else layout.predicting


def enable(model: Any) -> bool:
    """Have a live model compute shared prefixes once, where that gives exactly what the padded batch gives.

    Two short rows are computed both ways: what transformers computes for a row alone decides, as for inference
    (`harness.backends.local.exactness`). Returns False, and leaves the model as it was, where the architecture does
    not take this attention (eager attention, recurrent layers, masks of its own) or its numbers would differ. Processes
    that train together all do what process 0 has found. The last layer's feed-forward block computes the columns that
    predict an answer only, under the same condition.
    """
    inner = _inner(model)
    if inner.config._attn_implementation != "sdpa" or not getattr(inner, "_supports_attention_backend", False):
        return False
    inner.set_attn_implementation(IMPLEMENTATION)
    if not _all_find_exact(model):
        inner.set_attn_implementation("sdpa")
        return False
    last = last_layer(inner, inner.config.get_text_config().num_hidden_layers)
    if last is not None:
        needed = NeededColumns(last, _predicting)
        if not _all_find_exact(model):
            needed.remove()
    return True


def _all_find_exact(model: Any) -> bool:
    return distributed.told(_is_exact(model) if distributed.rank() == 0 else False)


def _is_exact(model: Any) -> bool:
    config = _inner(model).config
    rng = random.Random(0)
    low, high = config.get_text_config().vocab_size // 10, config.get_text_config().vocab_size * 9 // 10
    first, *rest = ([rng.randrange(low, high) for _ in range(n)] for n in CHECKED)
    examples = [Example([*first, *row[:-2]], row[-2:]) for row in rest]
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), short_window(config.get_text_config()):
            wanted = [_alone(model, example) for example in examples]
            batch = collate_shared(as_items(examples))
            batch |= {LAYOUT: {k: _moved(v, model) for k, v in batch[LAYOUT].items()}}
            found = forward(model, {k: _moved(v, model) for k, v in batch.items()}).logits[0]
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False  # an argument it does not take, a mask of another form
    finally:
        for module in training:
            module.training = True
    return equal_up_to_rounding(torch.cat(wanted), found)


def _alone(model: Any, example: Example) -> Tensor:
    """Logits [answer tokens, vocabulary] of one row, as transformers computes it."""
    ids = torch.tensor([example.prompt + example.answer[:-1]], device=_inner(model).device)
    logits: Tensor = model(input_ids=ids).logits
    return logits[0, -len(example.answer) :]


def _moved(value: Any, model: Any) -> Any:
    return value.to(_inner(model).device) if isinstance(value, Tensor) else value


AttentionInterface.register(IMPLEMENTATION, _attend)
AttentionMaskInterface.register(IMPLEMENTATION, _make_mask)
