"""Label sets that are not typed: all labels of the training rows, or a file with one a line."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.data.row import DataRow, is_missing, value_text
from harness.errors import DataError
from harness.files import read_text
from harness.text_normalization import comparable_text

MOST_LABELS = 1_000
"""More different values than this are texts and no labels."""

TEXTS = 0.5
"""From this share of different values on they are texts, in more rows than FEW."""
FEW = 40


def labels_of_rows(
    rows: Iterable[DataRow], column: str, place: str, values: Mapping[str, str], none: str = "none"
) -> tuple[str, ...]:
    """The different labels of a column: a text, a list of them, or a list of {text, label}.

    In the order of numbers where all are numbers, in that of the data set's own classes where it names them, else by
    alphabet. values: label for each value that the data holds in its place. Raises DataError for a column of texts.
    """
    counts: Counter[str] = Counter()
    mapped = {comparable_text(value): label for value, label in values.items()}
    named: tuple[str, ...] = ()
    for row in rows:
        classes = row.classes.get(column, ())
        named = named or classes
        for value in _each(row.value(column)):
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(classes):
                value = classes[value]
            text = value_text(value)
            if text is None:
                raise DataError(f"{row.place}: column '{column}' holds {type(value).__name__} where a label is meant.")
            if text.strip() and comparable_text(text) != comparable_text(none):
                counts[mapped.get(comparable_text(text), text.strip())] += 1
    found = _one_spelling(counts)
    many = counts.total() > FEW and len(found) > TEXTS * counts.total()
    if len(found) > MOST_LABELS or many or not found:
        held = f"{len(found):,} different values in {counts.total():,} rows" if found else "no value"
        raise DataError(f"{place}: labels = \"train\": column '{column}' holds {held}, which are no labels.")
    if named:
        return tuple(name for name in named if name in found)
    return tuple(sorted(found, key=_order(found)))


def _each(value: Any) -> list[Any]:
    if is_missing(value):
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return [value]
    if isinstance(value, list | tuple):
        return [one.get("label") if isinstance(one, dict) else one for one in value]
    return [value]


def _one_spelling(counts: "Counter[str]") -> dict[str, int]:
    """Values that read alike are one label, in the most frequent spelling."""
    found: dict[str, str] = {}
    for text, _ in counts.most_common():
        found.setdefault(comparable_text(text), text)
    return {text: counts[text] for text in found.values()}


def _order(found: Mapping[str, int]) -> Any:
    try:
        numbers = {text: float(text) for text in found}
    except ValueError:
        return comparable_text
    return numbers.__getitem__


def labels_of_file(path: Path) -> tuple[str, ...]:
    """A file with one label a line, or a JSON list of them. Raises DataError."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"labels '{path}' cannot be read ({error}).") from None
    if path.suffix == ".json":
        try:
            return tuple(map(str, msgspec.json.decode(text, type=list[str | int])))
        except msgspec.MsgspecError as error:
            raise DataError(f"labels '{path}' is no JSON list of labels ({error}).") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
