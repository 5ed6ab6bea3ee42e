"""CSV and its kin: the separator is found, what spreadsheets leave behind is put aside, every fault names its line."""

import csv
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import regex

from harness.data.row import DataRow, DataWarning
from harness.data.text_lines import find_encoding, known_encoding, text_lines
from harness.errors import DataError

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Separators that are looked for, the usual first."""

LOOKED_AT = 100
"""Lines by which the separator is found."""

BARE_RETURN = "a carriage return without a line feed: end lines with LF or CRLF, and quote fields that hold one"
SHOWN = 5

_DECLARED = regex.compile(r"\ufeff?\"?sep=(.)\"?[\s;,|]*", regex.IGNORECASE)
"""Excel's own first line, as in `sep=;`."""


def read_delimited(
    path: Path,
    headerless: tuple[str, ...] = (),
    *,
    usual: str = ",",
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Iterator[DataRow]:
    """The rows of a file of separated values, quoted as RFC 4180 says.

    headerless: column names of a file whose first line is data already. usual: the separator of files of this name.
    delimiter: the separator, where it is known; else it is found by the first lines, and a DataWarning says so where it
    is not the usual one. encoding: likewise, found where the text is not Unicode. Columns without a name are dropped,
    and so are rows without any value (a DataWarning counts them). Raises UsageError with file and line.
    """
    lines = text_lines(path, _encoding(path, encoding))
    first = list(islice(lines, LOOKED_AT))
    declared = _DECLARED.fullmatch(first[0]) if first else None
    skipped = int(declared is not None)
    if declared is not None:
        first = first[1:]
    found = delimiter or (declared[1] if declared else find_delimiter(first, usual, whole=len(first) < LOOKED_AT))
    if delimiter is None and found != usual:
        told = f"{path}: values are separated by {NAMES.get(found, repr(found))}, and are read so."
        warnings.warn(DataWarning(told), stacklevel=2)
    yield from _rows(_Records(path, chain(first, lines), found, skipped), headerless)


def _encoding(path: Path, named: str | None) -> str | None:
    """The encoding that is named, or found where the text is not Unicode; a DataWarning then says so."""
    if named is not None:
        return known_encoding(named, str(path))
    found = find_encoding(path)
    if found is not None:
        told = f"{path}: the text is not UTF-8, and is read as {found} (`encoding` names another)."
        warnings.warn(DataWarning(told), stacklevel=3)
    return found


def find_delimiter(lines: Sequence[str], usual: str, *, whole: bool = True) -> str:
    """The separator of which every line holds as many as the first; the usual one where several do, or none.

    lines: the beginning of a file; whole: all of it, so that the last record is complete.
    """
    shapes = {one: _widths(lines, one, whole=whole) for one in (usual, *(set(NAMES) - {usual}))}
    even = {one: widths[0] for one, widths in shapes.items() if widths and widths[0] > 1 and len(set(widths)) == 1}
    if usual in even or not any(widths and widths[0] > 1 for widths in shapes.values()):
        return usual
    if even:
        return max(NAMES, key=lambda one: even.get(one, 0))
    first = {one: widths[0] if widths else 0 for one, widths in shapes.items()}
    return usual if first[usual] > 1 else max(NAMES, key=lambda one: first[one])


def _widths(lines: Sequence[str], delimiter: str, *, whole: bool) -> list[int]:
    """How many fields the records have, empty ones at the end aside but not fewer than in the first record.

    Where the lines are no records of this separator, of those before the fault.
    """
    widths: list[int] = []
    try:
        for cells in csv.reader(lines, delimiter=delimiter, strict=True):
            if cells:
                least = widths[0] if widths else 1
                widths.append(max(len(_without_empty_end(cells)), min(least, len(cells))))
    except csv.Error:
        return [*widths, -1]
    return widths if whole or len(widths) < 2 else widths[:-1]


def _without_empty_end(cells: list[str]) -> list[str]:
    end = len(cells)
    while end and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


class _Records(NamedTuple):
    """The records of a file that is opened: after `skipped` lines."""

    path: Path
    lines: Iterable[str]
    delimiter: str
    skipped: int

    def each(self) -> Iterator[tuple[str, list[str]]]:
        """Place and cells of every record that is not an empty line."""
        csv.field_size_limit(sys.maxsize)  # rows of more than 128 KiB are data, not an attack
        reader = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        while True:
            place = f"{self.path}:{reader.line_num + 1 + self.skipped}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                why = BARE_RETURN if "new-line character" in str(error) else error
                raise DataError(f"{place}: malformed row ({why}).") from None
            if cells:
                yield place, cells


def _rows(records: _Records, headerless: tuple[str, ...]) -> Iterator[DataRow]:
    header: tuple[str, ...] | None = None
    empty: list[str] = []
    for place, cells in records.each():
        if header is None:
            if headerless and len(cells) == len(headerless) and not set(headerless) & set(cells):
                header = headerless
            else:
                header = column_names(cells, place)
                continue
        if len(header) > 1 and not any(cell.strip() for cell in cells):
            empty.append(place.rpartition(":")[2])
            continue
        fields = _fields(header, cells)
        if fields is None:
            raise DataError(f"{place}: {len(cells)} fields where {len(header)} are expected ({', '.join(header)}).")
        yield DataRow(fields=fields, place=place)
    if empty:
        where = ", ".join(empty[:SHOWN]) + (", .." if len(empty) > SHOWN else "")
        told = f"{records.path}: rows without any value were left out: {len(empty):,} (line {where})."
        warnings.warn(DataWarning(told), stacklevel=3)


def _fields(header: tuple[str, ...], cells: list[str]) -> dict[str, str] | None:
    """Cells by column; None where they are too few, or hold a value beyond the last column."""
    named = max(n for n, name in enumerate(header) if name) + 1 if any(header) else 0
    if len(cells) < named or any(cell.strip() for cell in cells[len(header) :]):
        return None
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}


def column_names(cells: Sequence[str], place: str) -> tuple[str, ...]:
    """Column names of a header, in NFC, without white space or marks around them; "" for a column without a name.

    Raises UsageError for a name given twice: one of the columns would be lost.
    """
    names = tuple(unicodedata.normalize("NFC", name).strip("\ufeff\u200b \t\r\n\xa0") for name in cells)
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{place}: two columns are named '{twice}': rename one.")
    return names


def read_literal_tsv(path: Path, _headerless: tuple[str, ...] = ()) -> Iterator[DataRow]:
    """TSV in which quotes are characters like any other and every line is a row (GLUE's form).

    Lines with too few or too many fields (such files are published with some) are left out; one DataWarning
    at the end says how many and where.
    """
    header: tuple[str, ...] | None = None
    torn: list[int] = []
    for number, line in enumerate(text_lines(path), 1):
        cells = line.rstrip("\r\n").split("\t")
        if header is None:
            header = column_names(cells, f"{path}:{number}")
        elif len(cells) == len(header):
            yield DataRow(fields=dict(zip(header, cells, strict=True)), place=f"{path}:{number}")
        elif line.strip():
            torn.append(number)
    if torn:
        where = ", ".join(map(str, torn[:SHOWN])) + (", .." if len(torn) > SHOWN else "")
        wanted = len(header or ())
        message = f"{path}: {len(torn)} lines do not hold {wanted} fields and were left out (line {where})."
        warnings.warn(DataWarning(message), stacklevel=2)
