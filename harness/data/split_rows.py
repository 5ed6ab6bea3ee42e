"""Splitting one file of rows into training and test rows, once and for all, so that no row stands on both sides."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from harness.data.row import DataRow
from harness.data.values import value_text
from harness.errors import UsageError
from harness.text_normalization import comparable_text


def split_rows(
    read: Callable[[], Iterable[DataRow]], folder: Path, share: float, group: str | None, seed: int
) -> dict[str, int]:
    """Write `train.jsonl` and `test.jsonl`; returns how many rows each holds.

    read: opens the rows; called twice, so that they need not fit into memory. share: of the rows, so many are test
    rows, in whole groups. group: a column whose equal values stay on one side; without it, rows that are equal in every
    column do. Which groups are test rows depends on the seed and on their values alone, not on their order.
    Raises UsageError: too few groups, a folder that holds such files already.
    """
    targets = {name: folder / f"{name}.jsonl" for name in ("train", "test")}
    taken = next((path for path in targets.values() if path.exists()), None)
    if taken is not None:
        raise UsageError(f"{taken} is there already: name another --out.")
    sizes = Counter(_key(row, group, seed) for row in read())
    if len(sizes) < 2:
        what = f"value of '{group}'" if group else "row"
        raise UsageError(f"there is {'no' if not sizes else 'only one'} {what}: nothing to split.")
    test = _test_groups(sizes, share)
    folder.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(targets, 0)
    with ExitStack() as files:
        opened = {name: files.enter_context(path.open("wb")) for name, path in targets.items()}
        for row in read():
            name = "test" if _key(row, group, seed) in test else "train"
            opened[name].write(_line(row) + b"\n")
            counts[name] += 1
    return counts


def _test_groups(sizes: "Counter[bytes]", share: float) -> set[bytes]:
    """Groups in the order of their hashes, until they hold the share; at least one, and never all."""
    wanted = share * sizes.total()
    chosen: set[bytes] = set()
    held = 0
    for key in sorted(sizes):
        if chosen and (held >= wanted or len(chosen) == len(sizes) - 1):
            break
        chosen.add(key)
        held += sizes[key]
    return chosen


def _key(row: DataRow, group: str | None, seed: int) -> bytes:
    said = comparable_text(row.text(group)) if group else "\0".join(_texts(row.fields))
    return hashlib.blake2b(f"{seed}\0{said}".encode("utf-8", "replace"), digest_size=12).digest()


def _texts(fields: dict[str, Any]) -> Iterator[str]:
    for name in sorted(fields):
        text = value_text(fields[name])
        yield f"{name}={comparable_text(text if text is not None else repr(fields[name]))}"


def _line(row: DataRow) -> bytes:
    try:
        return msgspec.json.encode(row.fields)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{row.place}: the row cannot be written as JSON ({error}).") from None
