"""Reading rows: from files, folders and the Hub, and which files of a folder hold a split."""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from harness.data.csv_rows import column_names, read_delimited
from harness.data.json_rows import read_json
from harness.data.row import DataRow as DataRow
from harness.data.row import DataWarning as DataWarning
from harness.data.text_lines import COMPRESSED, first_bytes, format_suffix
from harness.errors import DataError, MissingExtraError, did_you_mean
from harness.extras import install_command
from harness.records import Record

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


def read_parquet(path: Path, _headerless: tuple[str, ...] = ()) -> Iterator[DataRow]:
    """The rows of a Parquet file. Raises UsageError where it cannot be read."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow: python -m pip install pyarrow.") from None
    try:
        file, number = pq.ParquetFile(path), 0
        names = column_names(file.schema_arrow.names, str(path))
        classes = _classes(file.schema_arrow.metadata or {})
        for batch in file.iter_batches():
            for value in batch.rename_columns(list(names)).to_pylist():
                number += 1
                yield DataRow(fields=value, place=f"{path}: row {number}", classes=classes)
    except (pa.ArrowException, ValueError, OSError) as error:  # ValueError: text that is not UTF-8
        raise DataError(f"{path}: not a readable Parquet file ({error}).") from None


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Names of classes by column, as the datasets library notes them in the schema ("huggingface")."""
    try:
        features: Any = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {column: names for column, feature in features.items() if (names := class_names(feature))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def class_names(feature: Any) -> tuple[str, ...]:
    """The names of a ClassLabel feature, as a mapping or as an object of the datasets library; none for any other."""
    names = feature.get("names") if isinstance(feature, dict) else getattr(feature, "names", None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


EMBEDDED = "embedded"
"""The word after `--data` that names a task's own sample."""

HUB = "hub:"
"""What the location of any data set of the Hub begins with, as in "hub:owner/name" or "hub:owner/name:config"."""


class DataSource(Record, frozen=True, kw_only=True):
    """Where a task's rows come from.

    location: a path, "embedded", "hub:owner/name", or None for the task's own. split: "train" or "test".
    """

    location: str | None = None
    split: str = "test"


class HubDataset(Record, frozen=True, kw_only=True):
    """A data set on the Hub.

    path: its id, such as "fancyzhx/ag_news". config: one of its configurations. revision: a commit, branch or tag.
    splits: our names of splits -> the Hub's; None: the names that it has itself, where "validation" or "dev" stands for
    a test split that is not there.
    """

    path: str
    config: str | None = None
    revision: str | None = None
    splits: dict[str, str] | None = msgspec.field(default_factory=lambda: {"train": "train", "test": "test"})


def open_rows(
    source: DataSource,
    *,
    hub: HubDataset | None = None,
    embedded: Path | None = None,
    headerless: tuple[str, ...] = (),
    readers: Mapping[str, "Reader"] | None = None,
    names: tuple[str, ...] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Iterator[DataRow]:
    """The rows of a source, in file order.

    hub: the data set that stands for "no location given".
    embedded: the folder that stands for `--data embedded`.
    headerless: column names of CSV and TSV files whose first line is data already.
    readers: by file name ending, instead of the usual ones.
    names: file names of the split in a folder, in the order of trying (`split_files`).
    delimiter, encoding: of CSV files, where they are not to be found out.

    A folder without a file for the split "test" is read at "validation" or "dev".
    Raises UsageError (file and line) for what cannot be read.
    """
    if source.location is None:
        if hub is None:
            raise DataError("this task has no data of its own: name a file with --data PATH.")
        return _hub_rows(hub, source.split)
    known: dict[str, Reader] = {**READERS}
    if delimiter is not None or encoding is not None:
        own = {"encoding": encoding, **({} if delimiter is None else {"delimiter": delimiter})}
        known |= {suffix: partial(known[suffix], **own) for suffix in DELIMITED}
    if source.location is not None and source.location.startswith(HUB):
        name, _, config = source.location.removeprefix(HUB).partition(":")
        return _hub_rows(HubDataset(path=name, config=config or None, splits=None), source.split)
    if source.location == EMBEDDED:
        if embedded is None:
            raise DataError("this task has no embedded sample: name a file with --data PATH.")
        return _files_rows(split_files(embedded, source.split), headerless, known)
    path = Path(source.location)
    if not path.exists():
        raise DataError(f"--data {path}: there is no such file or folder.")
    files = split_files(path, source.split, names) if path.is_dir() else [path]
    return _files_rows(files, headerless, {**known, **(readers or {})})


def _files_rows(
    files: Iterable[Path], headerless: tuple[str, ...], readers: Mapping[str, "Reader"]
) -> Iterator[DataRow]:
    return chain.from_iterable([_reader(path, readers)(path, headerless) for path in files])


def _reader(path: Path, readers: Mapping[str, "Reader"]) -> "Reader":
    """By the file's ending; by its first bytes where that says nothing. Raises UsageError."""
    suffix = format_suffix(path)
    if suffix in readers:
        return readers[suffix]
    head = first_bytes(path)
    if head.startswith(b"PAR1"):
        return read_parquet
    if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        return read_json
    if suffix in (".xlsx", ".xls", ".ods"):
        raise DataError(f"{path}: cannot read '{suffix}' files: save the sheet as 'CSV UTF-8'.")
    raise DataError(f"{path}: cannot read '{suffix}' files{did_you_mean(suffix, readers)}.")


def _hub_rows(hub: HubDataset, split: str) -> Iterator[DataRow]:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(
            f"reading {hub.path} from the Hub needs the datasets package: {install_command('hub')}, "
            "or name a file with --data PATH."
        ) from None
    try:
        theirs = hub.splits or _own_splits(datasets.get_dataset_split_names(hub.path, hub.config, hub.revision))
        if split not in theirs:
            raise DataError(f"{hub.path} has no split '{split}'{did_you_mean(split, theirs)} ({', '.join(theirs)}).")
        data = datasets.load_dataset(hub.path, hub.config, split=theirs[split], revision=hub.revision)
    except DataError:
        raise
    except Exception as error:  # the Hub client raises dozens of unrelated types; all mean "not available"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{hub.path} cannot be read from the Hub ({reason}); check the connection or HF_TOKEN, "
            "or name a file with --data PATH (or --data embedded for the embedded sample)."
        ) from None
    features = data.features or {}
    classes = {column: names for column, feature in features.items() if (names := class_names(feature))}
    for number, value in enumerate(data, 1):
        yield DataRow(fields=value, place=f"{hub.path}/{split}: row {number}", classes=classes)


def _own_splits(names: list[str]) -> dict[str, str]:
    """A data set's own names of splits; ours for a test split that has another."""
    found = {name: name for name in names}
    for name in reversed(STANDS_FOR["test"]):
        if name in names:
            found["test"] = name
    return found


def read_arrow(path: Path, _headerless: tuple[str, ...] = ()) -> Iterator[DataRow]:
    """The rows of an Arrow file, as the datasets library saves them (`save_to_disk`). Raises UsageError where it cannot
    be read."""
    try:
        import pyarrow as pa
    except ImportError:
        raise DataError(f"{path}: reading Arrow needs pyarrow: python -m pip install pyarrow.") from None
    try:
        with pa.memory_map(str(path)) as source:
            opened = pa.ipc.open_file(source) if first_bytes(path, 6) == b"ARROW1" else pa.ipc.open_stream(source)
            names = column_names(opened.schema.names, str(path))
            classes, number = _classes(opened.schema.metadata or {}), 0
            held = (opened.get_batch(n) for n in range(opened.num_record_batches)) if _is_file(opened) else opened
            for batch in held:
                for value in batch.rename_columns(list(names)).to_pylist():
                    number += 1
                    yield DataRow(fields=value, place=f"{path}: row {number}", classes=classes)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable Arrow file ({error}).") from None


def _is_file(opened: Any) -> bool:
    return hasattr(opened, "num_record_batches")


Reader = Callable[[Path, tuple[str, ...]], Iterator[DataRow]]

DELIMITED = (".csv", ".tsv", ".tab", ".psv", ".txt")

READERS: dict[str, Reader] = {
    ".csv": read_delimited,
    ".tsv": partial(read_delimited, usual="\t"),
    ".tab": partial(read_delimited, usual="\t"),
    ".psv": partial(read_delimited, usual="|"),
    ".txt": partial(read_delimited, usual="\t"),  # as Excel calls its "Unicode text"
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".jsonlines": read_json,
    ".json": read_json,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
}
"""Readers by the ending of a file's name, without that of a compressed file."""
