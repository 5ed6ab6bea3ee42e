"""Rows of Parquet files, with the names of classes that the datasets library writes into them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.delimited import column_names
from harness.data.row import DataRow
from harness.errors import UsageError


def read_parquet(path: Path, _headerless: tuple[str, ...] = ()) -> Iterator[DataRow]:
    """The rows of a Parquet file. Raises UsageError where it cannot be read."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError(f"{path}: reading Parquet needs pyarrow: python -m pip install pyarrow.") from None
    try:
        file, number = pq.ParquetFile(path), 0
        names = column_names(file.schema_arrow.names, str(path))
        classes = _classes(file.schema_arrow.metadata or {})
        for batch in file.iter_batches():
            for value in batch.rename_columns(list(names)).to_pylist():
                number += 1
                yield DataRow(fields=value, place=f"{path}: row {number}", classes=classes)
    except (pa.ArrowException, ValueError, OSError) as error:  # ValueError: text that is not UTF-8
        raise UsageError(f"{path}: not a readable Parquet file ({error}).") from None


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
