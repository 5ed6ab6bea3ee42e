"""Splitting one file into training and test rows: at random, by groups that stay whole, or by time."""

import datetime
import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.data.row import DataRow, value_text
from harness.data.rows import DataSource, open_rows
from harness.errors import DataError
from harness.hashing import digest
from harness.text_normalization import comparable_text

By = Literal["random", "group", "time"]
Read = Callable[[], Iterable[DataRow]]
SPLITS = "splits"
"""The folder of a workspace in which split files are kept."""


def split_rows(read: Read, folder: Path, share: float, by: By, column: str | None, seed: int) -> dict[str, int]:
    """Write `train.jsonl` and `test.jsonl`; returns how many rows each holds.

    read: opens the rows; called twice, so that they need not fit into memory. share: of the rows, so many are test
    rows. by: "random", rows that are equal in every column on one side; "group", rows with one value of `column` on one
    side; "time", the rows with the latest values of `column` are the test rows. Which groups are test rows depends on
    the seed and on their values alone, not on their order.
    Raises UsageError: too few groups or times, a value that is no time, a folder that holds such files already.
    """
    targets = {name: folder / f"{name}.jsonl" for name in ("train", "test")}
    taken = next((path for path in targets.values() if path.exists()), None)
    if taken is not None:
        raise DataError(f"{taken} already exists: name another --out.")
    if by != "random" and column is None:
        raise DataError(f"--by {by} needs --column, which holds the {by}.")
    is_test = _latest(read, share, str(column)) if by == "time" else _of_groups(read, share, column, seed)
    folder.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(targets, 0)
    with ExitStack() as files:
        opened = {name: files.enter_context(path.open("wb")) for name, path in targets.items()}
        for row in read():
            name = "test" if is_test(row) else "train"
            opened[name].write(json_line(row) + b"\n")
            counts[name] += 1
    return counts


def stored_split(file: str, share: float, seed: int, root: Path) -> Path:
    """The folder of a file's random split, made where the workspace at `root` does not hold it yet.

    The same file, share and seed always give the same folder; a file that has changed gives another.
    Raises DataError where `file` is no single file.
    """
    path = Path(file)
    if not path.is_file():
        raise DataError(f"--test-share splits one file, and {file} is none: name a file with --data.")
    key = digest([hashlib.sha256(path.read_bytes()).hexdigest(), share, seed])[:12]
    folder = root / SPLITS / f"{path.name.partition('.')[0]}-{key}"
    if not (folder / "test.jsonl").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(f".{folder.name}.aside")
        for part in aside.glob("*.jsonl"):  # of an earlier attempt that did not end
            part.unlink()
        split_rows(lambda: open_rows(DataSource(location=file)), aside, share, "random", None, seed)
        aside.replace(folder)
    return folder


def _of_groups(read: Read, share: float, group: str | None, seed: int) -> Callable[[DataRow], bool]:
    sizes = Counter(_key(row, group, seed) for row in read())
    if len(sizes) < 2:
        what = f"value of '{group}'" if group else "row"
        raise DataError(f"there is {'no' if not sizes else 'only one'} {what}: nothing to split.")
    test = _test_groups(sizes, share)
    return lambda row: _key(row, group, seed) in test


def _latest(read: Read, share: float, column: str) -> Callable[[DataRow], bool]:
    """Whether a row is later than all but the last `share` of the rows; rows of one time stay on one side."""
    times = array("d", (_time(row, column) for row in read()))
    ordered = sorted(times)
    if not ordered or ordered[0] == ordered[-1]:
        raise DataError(f"all rows have one value of '{column}': nothing to split by time.")
    cut = ordered[min(len(ordered) - 1, max(1, math.ceil(len(ordered) * (1 - share))))]
    first = next(time for time in ordered if time > ordered[0])
    return lambda row: _time(row, column) >= max(cut, first)


def _time(row: DataRow, column: str) -> float:
    """Seconds since 1970: of a number (seconds, or milliseconds), or of a date and time in ISO 8601 (UTC unless it
    says otherwise). Raises DataError."""
    value = row.value(column)
    try:
        if isinstance(value, str) and not value.strip().lstrip("-").replace(".", "", 1).isdigit():
            given = datetime.datetime.fromisoformat(value.strip())
            return (given if given.tzinfo else given.replace(tzinfo=datetime.UTC)).timestamp()
        if isinstance(value, datetime.datetime):
            return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
        if isinstance(value, datetime.date):
            return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC).timestamp()
        number = float(value)
        if math.isfinite(number):
            return number / 1000 if abs(number) > 1e11 else number
    except (TypeError, ValueError, OverflowError):
        pass
    shown = str(value_text(value) or value)[:60]
    raise DataError(f"{row.place}: column '{column}' holds '{shown}', which is no time (write 2025-04-03T12:00:00Z).")


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
    key = comparable_text(row.text(group)) if group else "\0".join(_texts(row.fields))
    return hashlib.blake2b(f"{seed}\0{key}".encode("utf-8", "replace"), digest_size=12).digest()


def _texts(fields: dict[str, Any]) -> Iterator[str]:
    for name in sorted(fields):
        text = value_text(fields[name])
        yield f"{name}={comparable_text(text if text is not None else repr(fields[name]))}"


def json_line(row: DataRow) -> bytes:
    """A row as a line of JSON, without its end. Raises DataError for a value that JSON cannot hold."""
    try:
        return msgspec.json.encode(row.fields)
    except (TypeError, ValueError) as error:
        raise DataError(f"{row.place}: the row cannot be written as JSON ({error}).") from None
