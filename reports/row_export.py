"""The answers of a run, one line for each row, backend and repeat, in files for other tools."""

import csv
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import MissingExtraError, UsageError
from harness.extras import install_command
from harness.reports.exports import escape_formula
from harness.runs.run_handle import COLUMN_TYPES, Run

BATCH = 5_000
"""Lines of a Parquet file that are in memory at a time."""

Rows = Iterator[dict[str, Any]]


def write_rows(run: Run, out: Path) -> int:
    """Write `Run.records` to `out` in the format of its suffix, whole or not at all, and return the number of lines.

    Raises UsageError for another suffix, MissingExtraError where Parquet needs pyarrow.
    """
    write = WRITERS.get(out.suffix.lower())
    if write is None:
        raise UsageError(f"cannot write rows to {out.name}: --out takes a name that ends in {_or(list(WRITERS))}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.aside")
    try:
        count = write(run.records(), columns(run), aside)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return count


def columns(run: Run) -> list[str]:
    """The keys of all records: first those that every record has, then the further values of scores."""
    first: dict[str, Any] = next(run.records(), {})
    values = {
        f"value_{name}": None
        for backend in run.backends
        for line in run.log.backend_log(backend).each_last()
        if line.score is not None
        for name in line.score.values
    }
    return [*(name for name in first if name not in values), *values]


def _write_csv(rows: Rows, names: list[str], out: Path) -> int:
    count = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([escape_formula(name) for name in names])
        for row in rows:
            writer.writerow([_csv_cell(row.get(name)) for name in names])
            count += 1
    return count


def _csv_cell(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula (a number stays one), true and false as in JSON, None empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape_formula(value) if isinstance(value, str) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write_json_lines(rows: Rows, names: list[str], out: Path) -> int:
    encoder = msgspec.json.Encoder()
    count = 0
    with out.open("wb") as file:
        for row in rows:
            file.write(encoder.encode({name: row.get(name) for name in names}) + b"\n")
            count += 1
    return count


def _write_parquet(rows: Rows, names: list[str], out: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError(f"{out.suffix} needs pyarrow: {install_command('parquet')}.") from None
    kinds = {"text": pa.string(), "number": pa.float64(), "count": pa.int64(), "yes or no": pa.bool_()}
    schema = pa.schema([(name, kinds[kind_of_column(name)]) for name in names])
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            table = {name: [row.get(name) for row in batch] for name in names}
            writer.write_batch(pa.RecordBatch.from_pydict(table, schema=schema))
            count += len(batch)
    return count


KINDS = {"boolean": "yes or no", "Int64": "count", "float64": "number"}
"""What the types of `Run.to_pandas` are here."""


def kind_of_column(name: str) -> str:
    """ "count", "number", "yes or no" or "text"."""
    if name in ("n", "repeat"):
        return "count"
    return "number" if name.startswith("value_") else KINDS.get(COLUMN_TYPES.get(name, ""), "text")


def _or(choices: list[str]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


WRITERS: dict[str, Callable[[Rows, list[str], Path], int]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_json_lines,
}
"""By the suffix of the file."""
