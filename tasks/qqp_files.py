"""The shapes in which Quora's question pairs are handed around: GLUE's TSV, Quora's own TSV, CSV, JSONL, the Hub."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.answers.references import read_label
from harness.data.delimited import read_literal_tsv
from harness.data.rows import READERS, DataRow, DataSource, HubDataset, Reader, open_rows
from harness.errors import UsageError
from harness.hashing import digest
from harness.records import Record

HUB = HubDataset(path="nyu-mll/glue", config="qqp", splits={"train": "train", "test": "validation"})
"""GLUE keeps the labels of its test split to itself: the validation split stands for it."""

SPLITS = {"test": ("validation", "dev", "test")}
"""For the same reason, a folder's validation or dev file is taken before its test file."""

GLUE_FILES = ("train", "dev", "test")
"""GLUE publishes TSV files of these names, in which quotes mean nothing. Any other TSV is Quora's own: quoted."""

TEST_SHARE = 0.1
"""Of the groups of Quora's one file, so many go to the test split."""


class Pair(Record, frozen=True, kw_only=True):
    """One row: two questions, the label "0" or "1", an explanation where the data has one, and its place."""

    question1: str
    question2: str
    label: str
    explanation: str = ""
    place: str = ""


def read_pairs(source: DataSource, embedded: Path) -> Iterator[Pair]:
    """The pairs of a source, in file order. Raises UsageError for an empty question or a label that is none."""
    for row in open_rows(source, hub=HUB, embedded=embedded, readers=_TSV, names=SPLITS.get(source.split)):
        yield _pair(row)


def is_quoras_file(source: DataSource) -> bool:
    """Whether the source is Quora's one TSV file, which has no splits: they are then drawn by group."""
    path = Path(source.location or "")
    return path.suffix.lower() == ".tsv" and path.stem not in GLUE_FILES


def split_of_group(group: str) -> str:
    """The split of a group of Quora's one file: all pairs that share questions go the same way."""
    return "test" if int(digest(group)[:8], 16) < TEST_SHARE * 2**32 else "train"


def _read_tsv(path: Path, headerless: tuple[str, ...]) -> Iterator[DataRow]:
    return read_literal_tsv(path) if path.stem in GLUE_FILES else READERS[".tsv"](path, headerless)


_TSV: Mapping[str, Reader] = {".tsv": _read_tsv}


def _pair(row: DataRow) -> Pair:
    column = "is_duplicate" if "is_duplicate" in row.fields else "label"
    label = read_label(row, column, ("0", "1"))
    first, second = row.text("question1").strip(), row.text("question2").strip()
    if not first or not second:
        raise UsageError(f"{row.place}: {'question1' if not first else 'question2'} is empty.")
    explanation = row.text("explanation").strip() if "explanation" in row.fields else ""
    return Pair(question1=first, question2=second, label=label, explanation=explanation, place=row.place)
