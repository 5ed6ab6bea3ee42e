"""Reading data files: CSV, TSV, JSONL, JSON, Parquet, a folder of splits, or the Hub. Every row knows its place."""

import csv
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UsageError, did_you_mean
from harness.records import Record

EMBEDDED = "embedded"
"""The word after `--data` that names a task's own sample."""


class DataSource(Record, frozen=True, kw_only=True):
    """Where a task's rows come from: `location` is a path, "embedded", or None for the Hub."""

    location: str | None = None
    split: str = "test"


class DataWarning(UserWarning):
    """Rows of a file that could not be used and were left out: how many, and where. Never silent."""


class HubDataset(Record, frozen=True, kw_only=True):
    """A data set on the Hub: `splits` maps our split names to the Hub's."""

    path: str
    config: str | None = None
    revision: str | None = None
    splits: dict[str, str] = msgspec.field(default_factory=lambda: {"train": "train", "test": "test"})


class DataRow(Record, frozen=True, kw_only=True):
    """One row as read: its fields, and the place it came from (`train.csv:12`)."""

    fields: dict[str, Any]
    place: str

    def text(self, name: str) -> str:
        """A field as text. Raises UsageError naming the place where it is missing or not text."""
        if name not in self.fields:
            raise UsageError(f"{self.place}: no column '{name}'{did_you_mean(name, self.fields)}.")
        value = self.fields[name]
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise UsageError(f"{self.place}: column '{name}' holds {type(value).__name__}, not text.")
        return str(value)


Reader = Callable[[Path, tuple[str, ...]], Iterator[DataRow]]


def open_rows(
    source: DataSource,
    *,
    hub: HubDataset | None = None,
    embedded: Path | None = None,
    headerless: tuple[str, ...] = (),
    readers: Mapping[str, "Reader"] | None = None,
) -> Iterator[DataRow]:
    """The rows of a source, in file order.

    hub: the data set that stands for "no location given".
    embedded: the folder that stands for `--data embedded`.
    headerless: column names of CSV and TSV files whose first line is data already.
    readers: by file name ending, instead of the usual ones.

    A folder without a file for the split "test" is read at "validation" or "dev".
    Raises UsageError (file and line) for what cannot be read.
    """
    if source.location is None:
        if hub is None:
            raise UsageError("this task has no data of its own: name a file with --data PATH.")
        return _hub_rows(hub, source.split)
    if source.location == EMBEDDED:
        if embedded is None:
            raise UsageError("this task has no embedded sample: name a file with --data PATH.")
        return _file_rows(split_file(embedded, source.split), headerless, READERS)
    path = Path(source.location)
    if not path.exists():
        raise UsageError(f"--data {path}: there is no such file or folder.")
    file = split_file(path, source.split) if path.is_dir() else path
    return _file_rows(file, headerless, {**READERS, **(readers or {})})


STANDS_FOR = {"test": ("test", "validation", "dev")}
"""File names of a split, the first that is there: public test files often hold no labels, or are not given out."""


def split_file(folder: Path, split: str, names: tuple[str, ...] | None = None) -> Path:
    """The file of a split in a folder: `<split>.csv`, `<split>-00000-of-00001.parquet`, ..

    names: other names of the split, in the order of trying. Raises UsageError for none or several.
    """
    found: list[Path] = []
    for name in STANDS_FOR.get(split, (split,)) if names is None else names:
        found = found or sorted(
            p for p in folder.iterdir() if p.suffix.lower() in READERS and p.stem.split("-")[0] == name
        )
    if len(found) == 1:
        return found[0]
    if not found:
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        raise UsageError(f"{folder} holds no file for the split '{split}' ({split}.csv, .jsonl, ..); it holds {held}.")
    raise UsageError(
        f"{folder} holds several files for the split '{split}': {', '.join(p.name for p in found)}; name one of them."
    )


def _file_rows(path: Path, headerless: tuple[str, ...], readers: Mapping[str, "Reader"]) -> Iterator[DataRow]:
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: cannot read '{path.suffix}' files{did_you_mean(path.suffix, readers)}.")
    return reader(path, headerless)


def _text_lines(path: Path) -> Iterator[str]:
    """Lines with their ends kept; a BOM is dropped; bytes that are not UTF-8 are named by line."""
    with path.open("rb") as handle:
        for number, raw in enumerate(handle, 1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UsageError(
                    f"{path}:{number}: byte {error.start} is not UTF-8; convert the file with iconv -t UTF-8."
                ) from None


BARE_RETURN = "a carriage return stands alone: end lines with LF or CRLF, and quote fields that hold one"


def _header(cells: list[str], place: str) -> tuple[str, ...]:
    """Column names. Raises UsageError for a name given twice: one of the columns would be lost."""
    names = tuple(name.strip() for name in cells)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{place}: two columns are named '{twice}': rename one.")
    return names


def _read_delimited(path: Path, headerless: tuple[str, ...], delimiter: str) -> Iterator[DataRow]:
    csv.field_size_limit(sys.maxsize)  # rows of more than 128 KiB are data, not an attack
    reader = csv.reader(_text_lines(path), delimiter=delimiter, strict=True)
    header: tuple[str, ...] | None = None
    while True:
        place = f"{path}:{reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = BARE_RETURN if "new-line character" in str(error) else error
            raise UsageError(f"{place}: malformed row ({why}).") from None
        if not cells:
            continue
        if header is None:
            if headerless and len(cells) == len(headerless) and not set(headerless) & set(cells):
                header = headerless
            else:
                header = _header(cells, place)
                continue
        if len(cells) != len(header):
            raise UsageError(f"{place}: {len(cells)} fields where {len(header)} are expected ({', '.join(header)}).")
        yield DataRow(fields=dict(zip(header, cells, strict=True)), place=place)


def _read_csv(path: Path, headerless: tuple[str, ...]) -> Iterator[DataRow]:
    return _read_delimited(path, headerless, ",")


def _read_tsv(path: Path, headerless: tuple[str, ...]) -> Iterator[DataRow]:
    return _read_delimited(path, headerless, "\t")


def read_literal_tsv(path: Path, _headerless: tuple[str, ...] = ()) -> Iterator[DataRow]:
    """TSV in which quotes are characters like any other and every line is a row (GLUE's form).

    Lines with too few or too many fields (such files are published with some) are left out; one DataWarning
    at the end says how many and where.
    """
    header: list[str] | None = None
    torn: list[int] = []
    for number, line in enumerate(_text_lines(path), 1):
        cells = line.rstrip("\r\n").split("\t")
        if header is None:
            header = list(_header(cells, f"{path}:{number}"))
        elif len(cells) == len(header):
            yield DataRow(fields=dict(zip(header, cells, strict=True)), place=f"{path}:{number}")
        elif line.strip():
            torn.append(number)
    if torn:
        where = ", ".join(map(str, torn[:5])) + (", .." if len(torn) > 5 else "")
        wanted = len(header or ())
        message = f"{path}: {len(torn)} lines do not hold {wanted} fields and were left out (line {where})."
        warnings.warn(DataWarning(message), stacklevel=2)


def _read_jsonl(path: Path, _headerless: tuple[str, ...]) -> Iterator[DataRow]:
    for number, line in enumerate(_text_lines(path), 1):
        if line.strip():
            yield _object_row(line, f"{path}:{number}")


def _read_json(path: Path, _headerless: tuple[str, ...]) -> Iterator[DataRow]:
    try:
        elements = msgspec.json.decode("".join(_text_lines(path)), type=list[msgspec.Raw])
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: a JSON data file holds a list of objects ({error}).") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON ({error}).") from None
    for number, element in enumerate(elements, 1):
        yield _object_row(bytes(element).decode(), f"{path}: element {number}")


def _object_row(text: str, place: str) -> DataRow:
    try:
        value = msgspec.json.decode(text)
        json.loads(text, object_pairs_hook=_refuse_twice, strict=False)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"{place}: not JSON ({error}).") from None
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{place}: a row must be a JSON object, this is {type(value).__name__}.")
    return DataRow(fields=value, place=place)


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """A key that stands twice hides a value: parsers keep one of the two in silence. Raises UsageError."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UsageError(f"the key '{twice}' stands twice in one object: rename one.")


def _read_parquet(path: Path, _headerless: tuple[str, ...]) -> Iterator[DataRow]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow: python -m pip install 'bench-harness[hub]'."
        ) from None
    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches():
            for value in batch.to_pylist():
                number += 1
                yield DataRow(fields=value, place=f"{path}: row {number}")
    except (pa.ArrowException, ValueError, OSError) as error:  # ValueError: text that is not UTF-8
        raise UsageError(f"{path}: not a readable Parquet file ({error}).") from None


def _hub_rows(hub: HubDataset, split: str) -> Iterator[DataRow]:
    try:
        import datasets
    except ImportError:
        raise UsageError(
            f"reading {hub.path} from the Hub needs the datasets package: "
            "python -m pip install 'bench-harness[hub]', or name a file with --data PATH."
        ) from None
    if split not in hub.splits:
        raise UsageError(f"{hub.path} has no split '{split}'{did_you_mean(split, hub.splits)}.")
    try:
        data = datasets.load_dataset(hub.path, hub.config, split=hub.splits[split], revision=hub.revision)
    except Exception as error:  # the Hub client raises dozens of unrelated types; all mean "not available"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{hub.path} cannot be read from the Hub ({reason}); check the connection or HF_TOKEN, "
            "or name a file with --data PATH (or --data embedded for the embedded sample)."
        ) from None
    for number, value in enumerate(data, 1):
        yield DataRow(fields=value, place=f"{hub.path}/{split}: row {number}")


READERS: dict[str, Reader] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
