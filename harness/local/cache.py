"""Keys and values of a batch, written in place: nothing is copied as sequences grow.

Rows are aligned on the right. A window shows transformers some rows of a batch from some column on, so that
a large batch can be read in small pieces, each padded only to its own width, and then written on as one.
"""

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from .net import Net

Layers = list[tuple[Tensor, Tensor]]
"""Keys and values, one pair a layer, each [1 or rows, heads, columns, head size]."""

NO_LAYERS: Layers = []


class Store:
    """One layer's keys and values of a batch: [rows, heads, columns, head size], made when first written."""

    keys: Tensor
    values: Tensor

    def __init__(self, rows: int, columns: int) -> None:
        self.rows = rows
        self.columns = columns
        self.made = False

    def make(self, keys: Tensor, values: Tensor) -> None:
        """Take memory of the heads, head sizes and type of these; values may be narrower than keys (MLA)."""
        self.keys, self.values = (
            like.new_empty((self.rows, like.shape[1], self.columns, like.shape[3])) for like in (keys, values)
        )
        self.made = True

    def select(self, rows: Tensor, used: int) -> None:
        """Keep these rows only, of which the first `used` columns are written."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty((len(rows), *old.shape[1:]))
            new[:, :, :used] = old[rows, :, :used]
            setattr(self, name, new)
        self.rows = len(rows)


class Window(DynamicLayer):
    """Some rows of a store from column `first` on, as a cache layer; `used` columns of it are written."""

    def __init__(self, store: Store, rows: slice, first: int, start: tuple[Tensor, Tensor] | None, used: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store
        self._rows = rows
        self._first = first
        self._start = start
        self._used = used

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add columns in place and show all that are written."""
        store, rows = self._store, self._rows
        if not store.made:
            store.make(key_states, value_states)
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


def new_stores(net: Net, rows: int, columns: int) -> list[Store]:
    """Room for a batch, one store a layer."""
    return [Store(rows, columns) for _ in range(net.model.config.get_text_config().num_hidden_layers)]


def window(stores: list[Store], rows: slice, first: int, start: Layers, used: int = 0) -> Cache:
    """These rows from column `first` on: empty but for `start` (the shared prefix), or with `used` columns."""
    return Cache(
        layers=[Window(store, rows, first, start[n] if start else None, used) for n, store in enumerate(stores)]
    )
