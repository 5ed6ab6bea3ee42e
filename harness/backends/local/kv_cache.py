"""The key-value cache: written in place, with the prefix that all prompts share computed once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from harness.backends.local.model import LoadedModel

Layers = list[tuple[Tensor, Tensor]]
"""Keys and values, one pair a layer, each [1 or rows, heads, columns, head size]."""

NO_LAYERS: Layers = []


class KeyValueStore:
    """One layer's keys and values of a batch: [rows, heads, columns, head size], made when first written."""

    keys: Tensor
    values: Tensor

    def __init__(self, rows: int, columns: int) -> None:
        self.rows = rows
        self.columns = columns
        self.allocated = False

    def allocate(self, keys: Tensor, values: Tensor) -> None:
        """Take memory of the heads, head sizes and type of these; values may be narrower than keys (MLA)."""
        self.keys, self.values = (
            like.new_empty((self.rows, like.shape[1], self.columns, like.shape[3])) for like in (keys, values)
        )
        self.allocated = True

    def select(self, rows: Tensor, used: int) -> None:
        """Keep these rows only, of which the first `used` columns are written."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty((len(rows), *old.shape[1:]))
            new[:, :, :used] = old[rows, :, :used]
            setattr(self, name, new)
        self.rows = len(rows)


class CacheWindow(DynamicLayer):
    """Some rows of a store from column `first` on, as a cache layer; `used` columns of it are written."""

    def __init__(
        self, store: KeyValueStore, rows: slice, first: int, start: tuple[Tensor, Tensor] | None, used: int
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store
        self._rows = rows
        self._first = first
        self._start = start
        self._used = used

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add columns in place and show all that are written."""
        store, rows = self._store, self._rows
        if not store.allocated:
            store.allocate(key_states, value_states)
        self.is_initialized = True
        added = [(key_states, value_states)] if self._start is None else [self._start, (key_states, value_states)]
        if self._used == 0:  # what lies before the window is masked, but must not be a NaN
            store.keys[rows, :, : self._first] = 0
            store.values[rows, :, : self._first] = 0
        for keys, values in added:
            begin = self._first + self._used
            end = begin + keys.shape[2]
            store.keys[rows, :, begin:end] = keys
            store.values[rows, :, begin:end] = values
            self._used += keys.shape[2]
        self._start = None
        end = self._first + self._used
        return store.keys[rows, :, self._first : end], store.values[rows, :, self._first : end]

    def get_seq_length(self) -> int:
        """Columns written so far."""
        return self._used

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows only."""
        self._store.select(indices, self._first + self._used)
        self._rows = slice(0, len(indices))


def new_stores(loaded: LoadedModel, rows: int, columns: int) -> list[KeyValueStore]:
    """Room for a batch, one store a layer."""
    return [KeyValueStore(rows, columns) for _ in range(loaded.model.config.get_text_config().num_hidden_layers)]


def window(stores: list[KeyValueStore], rows: slice, first: int, start: Layers, used: int = 0) -> Cache:
    """These rows from column `first` on: empty but for `start` (the shared prefix), or with `used` columns."""
    return Cache(
        layers=[CacheWindow(store, rows, first, start[n] if start else None, used) for n, store in enumerate(stores)]
    )


MIN_PREFIX_TOKENS = 4
"""A shared beginning of fewer tokens is not worth a pass of its own."""


class Prefix(NamedTuple):
    """Shared tokens with their keys and values, one pair a layer, each [1, heads, tokens, head size]."""

    ids: list[int]
    layers: Layers

    def cut(self, length: int) -> "Prefix":
        """The first `length` tokens of it."""
        return Prefix(self.ids[:length], [(k[:, :, :length], v[:, :, :length]) for k, v in self.layers])


NO_PREFIX = Prefix([], NO_LAYERS)


def shared_length(rows: Sequence[list[int]]) -> int:
    """How many first tokens all rows share; every row keeps at least one token of its own."""
    if len(rows) < 2:
        return 0
    first, last = min(rows), max(rows)  # all others lie between them, so share what these two share
    length = min(common_length(first, last), min(map(len, rows)) - 1)
    return length if length >= MIN_PREFIX_TOKENS else 0


def common_length(a: list[int], b: list[int]) -> int:
    """How many first tokens two rows share."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def compute_prefix(loaded: LoadedModel, ids: list[int]) -> Prefix:
    """One forward pass over the shared tokens."""
    packed = loaded.pack([ids], 0)
    stores = new_stores(loaded, 1, len(ids))
    loaded.logits(packed, window(stores, slice(0, 1), 0, NO_LAYERS), 1)
    return Prefix(ids, [(store.keys, store.values) for store in stores])


class PrefixCache:
    """The last shared prefix of each adapter."""

    def __init__(self) -> None:
        self._prefixes: dict[str, Prefix] = {}
        self.computed_tokens = 0

    def get(self, loaded: LoadedModel, adapter: str, rows: Sequence[list[int]]) -> Prefix:
        """The prefix these rows share, computed unless a kept one (or a part of it) serves."""
        length = shared_length(rows)
        if not length:
            return NO_PREFIX
        prefix_ids = rows[0][:length]
        cached = self._prefixes.get(adapter, NO_PREFIX)
        common = common_length(cached.ids, prefix_ids)
        # A window may share a token or two more by chance: not worth another computation.
        if common and common >= 0.9 * length:
            return cached.cut(common)
        with torch.inference_mode():
            self._prefixes[adapter] = compute_prefix(loaded, prefix_ids)
        self.computed_tokens += length
        return self._prefixes[adapter]

    def clear(self) -> None:
        """Forget everything (the weights have changed)."""
        self._prefixes.clear()
