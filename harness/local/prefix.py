"""Tokens that all prompts share are computed once, kept as keys and values, and reused by every batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from .cache import NO_LAYERS, Layers, new_stores, window
from .net import Net

SHORTEST = 4
"""A shared beginning of fewer tokens is not worth a pass of its own."""


class Prefix(NamedTuple):
    """Shared tokens with their keys and values, one pair a layer, each [1, heads, tokens, head size]."""

    ids: list[int]
    layers: Layers

    def cut(self, length: int) -> "Prefix":
        """The first `length` tokens of it."""
        return Prefix(self.ids[:length], [(k[:, :, :length], v[:, :, :length]) for k, v in self.layers])


NOTHING = Prefix([], NO_LAYERS)


def shared_length(rows: Sequence[list[int]]) -> int:
    """How many first tokens all rows share; every row keeps at least one token of its own."""
    if len(rows) < 2:
        return 0
    first, last = min(rows), max(rows)  # all others lie between them, so share what these two share
    length = min(common_length(first, last), min(map(len, rows)) - 1)
    return length if length >= SHORTEST else 0


def common_length(a: list[int], b: list[int]) -> int:
    """How many first tokens two rows share."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def compute(net: Net, ids: list[int]) -> Prefix:
    """One forward pass over the shared tokens."""
    packed = net.pack([ids], 0)
    stores = new_stores(net, 1, len(ids))
    net.logits(packed, window(stores, slice(0, 1), 0, NO_LAYERS), 1)
    return Prefix(ids, [(store.keys, store.values) for store in stores])


class PrefixCache:
    """The last shared prefix of each adapter."""

    def __init__(self) -> None:
        self._kept: dict[str, Prefix] = {}
        self.computed_tokens = 0

    def get(self, net: Net, adapter: str, rows: Sequence[list[int]]) -> Prefix:
        """The prefix these rows share, computed unless a kept one (or a part of it) serves."""
        length = shared_length(rows)
        if not length:
            return NOTHING
        wanted = rows[0][:length]
        kept = self._kept.get(adapter, NOTHING)
        common = common_length(kept.ids, wanted)
        # A window may share a token or two more by chance: not worth computing anew.
        if common and common >= 0.9 * length:
            return kept.cut(common)
        with torch.inference_mode():
            self._kept[adapter] = compute(net, wanted)
        self.computed_tokens += length
        return self._kept[adapter]

    def clear(self) -> None:
        """Forget everything (the weights have changed)."""
        self._kept.clear()
