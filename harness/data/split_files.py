"""Splits: which files of a folder hold one."""

import re
from pathlib import Path

from harness.data.text_lines import COMPRESSED
from harness.errors import DataError

STANDS_FOR = {"test": ("test", "validation", "dev")}
"""File names of a split, the first that is there: public test files often hold no labels, or are not given out."""

FORMATS = (".csv", ".tsv", ".tab", ".psv", ".txt", ".jsonl", ".ndjson", ".jsonlines", ".json", ".parquet", ".arrow")
ARROW_STATE = "state.json"
"""Beside the Arrow files of a data set that `save_to_disk` of the datasets library wrote."""

INSIDE = "data"
"""The folder in which data sets of the Hub keep their files."""

_SHARD = re.compile(r"(?P<split>.+?)[-_.]?(?:part)?[-_.]?\d+(?:-of-\d+)?(?:-[0-9a-f]+)?")
_NUMBERED = re.compile(r"(?:.*?\D)?(?P<number>\d+)(?:-of-(?P<count>\d+))?(?:[-_.].*)?")


def split_files(folder: Path, split: str, names: tuple[str, ...] | None = None) -> list[Path]:
    """The file of a split in a folder, or its shards in order.

    Looked for as `<split>.csv`, `<split>-00000-of-00002.parquet`, .., `<split>/0000.parquet`, .., here and in a folder
    `data`; compressed or not. names: other names of the split, in the order of trying. Raises UsageError for none, for
    several files that are no shards of one another, and where a shard is missing.
    """
    if (folder / ARROW_STATE).is_file():  # one data set without splits
        return _in_order(folder, split, _data_files(folder))
    for name in STANDS_FOR.get(split, (split,)) if names is None else names:
        for place in (folder, folder / INSIDE):
            found = _of_name(place, name) if place.is_dir() else []
            if found:
                return _in_order(folder, split, found)
    held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
    raise DataError(f"{folder} holds no file for the split '{split}' ({split}.csv, .jsonl, ..); it holds {held}.")


def _of_name(folder: Path, name: str) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if _is_data(p))
    found = [p for p in files if _stem(p) == name or _stem(p).split("-")[0] == name or _is_shard_of(p, name)]
    inner = folder / name
    return found or (_data_files(inner) if inner.is_dir() else [])


def _data_files(folder: Path) -> list[Path]:
    """All data files of a folder; of one that the datasets library has saved not the JSON that describes them."""
    files = sorted(path for path in folder.iterdir() if _is_data(path))
    return [path for path in files if path.suffix == ".arrow"] if (folder / ARROW_STATE).is_file() else files


def _is_data(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and _uncompressed(path).suffix.lower() in FORMATS


def _uncompressed(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def _stem(path: Path) -> str:
    return _uncompressed(path).stem


def _is_shard_of(path: Path, name: str) -> bool:
    shard = _SHARD.fullmatch(_stem(path))
    return shard is not None and shard["split"] == name


def _in_order(folder: Path, split: str, found: list[Path]) -> list[Path]:
    """Shards by their numbers; a set that is not whole would evaluate a part of the split in silence."""
    if len(found) == 1 and _count(found[0]) <= 1:
        return found
    numbers = [int(match["number"]) if (match := _NUMBERED.fullmatch(_stem(p))) else None for p in found]
    formats = {_uncompressed(p).suffix.lower() for p in found}
    if None in numbers or len(set(numbers)) < len(numbers) or len(formats) > 1 or len({_count(p) for p in found}) > 1:
        named = ", ".join(p.name for p in found)
        raise DataError(f"{folder} holds several files for the split '{split}': {named}; name one of them.")
    ordered = [path for _, path in sorted(zip(numbers, found, strict=True), key=lambda pair: pair[0] or 0)]
    count, present = _count(found[0]), sorted(n for n in numbers if n is not None)
    wanted = range(count) if count else range(present[0], present[-1] + 1)
    missing = sorted(set(wanted) - set(present))
    if missing:
        raise DataError(
            f"{folder} holds {len(found)} of {len(wanted)} shards of the split '{split}': number {missing[0]} is "
            "missing; fetch it, or name one file."
        )
    return ordered


def _count(path: Path) -> int:
    """How many shards there are, as a shard's name says; 0 where it says nothing."""
    match = _NUMBERED.fullmatch(_stem(path))
    return int(match["count"]) if match is not None and match["count"] else 0
