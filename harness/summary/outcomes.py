"""The rows of a run and one backend's outcomes as arrays: the input of every statistic."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.data.leakage_groups import RowGroupsBuilder
from harness.errors import UsageError
from harness.metrics import Metric
from harness.records import LogLine, Row, Score

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

MOST_TEXTS = 100_000
"""A column of more distinct texts is no column to slice by; further ones count as empty."""


@dataclass(frozen=True)
class TextColumn:
    """A column of texts that repeat: the distinct ones, and (n,) which of them each row holds."""

    texts: tuple[str, ...]
    codes: NDArray[np.int32]

    def only(self, chosen: Codes) -> "TextColumn":
        """The column of these rows."""
        return TextColumn(self.texts, self.codes[chosen])

    def counts(self) -> dict[str, int]:
        """Rows of every distinct text, in the order of first mention."""
        found = np.bincount(self.codes, minlength=len(self.texts))
        return {text: int(count) for text, count in zip(self.texts, found, strict=True) if count}

    def rows_of(self, text: str) -> Codes:
        """The positions that hold a text."""
        return np.flatnonzero(self.codes == self.texts.index(text))


class ColumnBuilder:
    """Gathers a column; rows without a text hold the empty one."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._codes = array("i")

    def add(self, row: int, text: str) -> None:
        """The text of a row; rows come in order."""
        self._fill(row)
        if len(self._known) >= MOST_TEXTS and text not in self._known:
            text = ""
        self._codes.append(self._known.setdefault(text, len(self._known)))

    def _fill(self, rows: int) -> None:
        if len(self._codes) < rows:
            empty = self._known.setdefault("", len(self._known))
            self._codes.extend([empty] * (rows - len(self._codes)))

    def build(self, rows: int) -> TextColumn:
        """The column of so many rows."""
        self._fill(rows)
        return TextColumn(tuple(self._known), np.array(self._codes, dtype=np.int32))


class RowValues(Mapping[str, Array]):
    """Values of rows by metric; nan where there is none. What is only 0, 1 or nan takes a byte a row."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.int8] | Array] = {}

    def keep(self, name: str, values: Array) -> None:
        """Take in a metric's values."""
        small = np.where(np.isnan(values), -1, values).astype(np.int8)
        self._kept[name] = small if np.array_equal(_wide(small), values, equal_nan=True) else values

    def __getitem__(self, name: str) -> Array:
        kept = self._kept[name]
        return _wide(kept) if kept.dtype == np.int8 else kept.astype(np.float64, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def _wide(small: NDArray[np.int8] | Array) -> Array:
    return np.where(small < 0, np.nan, small).astype(np.float64, copy=False)


NOT_ANSWERED = -1
COUNTED = ("references", "answers")
"""Beside the hits, what a score counts by label."""
NUMBER, REFERENCE_NUMBER = "value:number", "value:reference_number"
"""Keys of the numbers that correlations are computed from."""
HAS_NO_FORMAT = ("choose", "head")
"""Decode modes that cannot get the format wrong: the format error rate does not apply to them."""


@dataclass(frozen=True)
class RowTable:
    """The evaluated rows: positions 0..n-1.

    references: (n,) index of the gold label, -1 where the task has no labels; groups: (n,) number of the row's
    group, given or made of equal inputs, None where every row is its own unit; columns: for slices;
    inputs: (n,) number of the row's inputs, None where no two rows have equal ones; turns: as in RowGroups.
    """

    labels: tuple[str, ...]
    references: Codes
    groups: Codes | None
    columns: dict[str, TextColumn]
    inputs: Codes | None = None
    turns: Codes | None = None

    @classmethod
    def of(cls, rows: Iterable[Row], labels: tuple[str, ...]) -> "RowTable":
        """Read the rows. Raises UsageError where a reference is none of the labels."""
        index = {label: i for i, label in enumerate(labels)}
        references = array("q")
        groups = RowGroupsBuilder()
        columns: dict[str, ColumnBuilder] = {}
        for row in rows:
            sample = row.sample
            if labels and sample.reference not in index:
                raise UsageError(f"row {sample.id}: the reference '{sample.reference}' is none of {', '.join(labels)}.")
            for name, value in sample.columns.items():
                columns.setdefault(name, ColumnBuilder()).add(len(references), value)
            references.append(index.get(sample.reference, -1))
            groups.add(sample)
        count = len(references)
        built = {name: column.build(count) for name, column in columns.items()}
        joined = groups.build()
        gold = np.array(references, dtype=np.int64)
        return cls(labels, gold, joined.codes, built, joined.inputs, joined.turns)

    def __len__(self) -> int:
        return len(self.references)

    def only(self, chosen: Codes) -> "RowTable":
        """The rows at these positions."""
        return RowTable(
            labels=self.labels,
            references=self.references[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            columns={name: column.only(chosen) for name, column in self.columns.items()},
            inputs=None if self.inputs is None else self.inputs[chosen],
            turns=None if self.turns is None else _kept_turns(self.turns, chosen),
        )

    @property
    def distinct(self) -> int:
        """How many different inputs the rows have."""
        return len(self) if self.inputs is None else len(np.unique(self.inputs))

    def copies_remark(self) -> str | None:
        """That some rows repeat the inputs of others, and what follows from it; None where none does."""
        if self.distinct == len(self):
            return None
        return f"{self.distinct:,} distinct inputs among {len(self):,} rows: rows with equal inputs count as one group."


def _kept_turns(turns: Codes, chosen: Codes) -> Codes:
    """The turns of the rows at `chosen`, by their new positions."""
    place = np.empty(len(turns), dtype=np.int64)
    place[turns] = np.arange(len(turns))
    return np.argsort(place[chosen], kind="stable")


@dataclass(frozen=True)
class Outcomes:
    """One candidate's outcomes.

    values: metric of kind "mean" -> (n,) the row's value, averaged over its answered repeats; nan: no answer, or
    not defined (computed on every access: read it once). Likewise what other kinds are computed from: counts by their
    key ("hits:LABEL"), the numbers of correlations ("value:number", "value:reference_number").
    answers: (n, repeats) column of the confusion table, the last one for "(no label)", NOT_ANSWERED where no answer
    came. watched: asking could have stopped once the question was answered; sequential: it did, so that statistics of
    a fixed number of rows do not hold.
    """

    decode: str
    values: Mapping[str, Array]
    answers: NDArray[np.signedinteger]
    watched: bool = False
    sequential: bool = False

    @property
    def repeats(self) -> int:
        """How often each row was asked."""
        return int(self.answers.shape[1])

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(n,) rows with at least one answer."""
        return np.asarray((self.answers != NOT_ANSWERED).any(axis=1))

    def only(self, chosen: Codes) -> "Outcomes":
        """The outcomes at these positions."""
        values = RowValues()
        for name, of_all in self.values.items():
            values.keep(name, of_all[chosen])
        return Outcomes(self.decode, values, self.answers[chosen], self.watched, self.sequential)


class RowSums:
    """Sums over the answers to each row, and how many of them had a value: a byte each while all values are 0 or 1.

    repeats: at most so many answers a row.
    """

    def __init__(self, rows: int, repeats: int) -> None:
        small = np.min_scalar_type(max(repeats, 255))
        self.sums: NDArray[np.unsignedinteger] | Array = np.zeros(rows, dtype=small)
        self.counts: NDArray[np.unsignedinteger] = np.zeros(rows, dtype=small)

    def add(self, n: int, value: float) -> None:
        """Take in the value of an answer to row `n`."""
        if value not in (0, 1) and self.sums.dtype != np.float64:
            self.sums = self.sums.astype(np.float64)
        self.sums[n] += value
        self.counts[n] += 1

    def means(self) -> Array:
        """(rows,) a value; nan where there is none."""
        empty = np.full(len(self.sums), np.nan)
        means: Array = np.divide(self.sums, self.counts, out=empty, where=self.counts > 0)
        return means


@dataclass
class OutcomeBuilder:
    """Gathers outcomes line by line, in any order."""

    decode: str
    metrics: tuple[Metric, ...]
    labels: tuple[str, ...]
    rows: int
    repeats: int
    watched: bool = False
    sequential: bool = False
    _sums: dict[str, RowSums] = field(init=False)
    _answers: NDArray[np.int32] = field(init=False)
    _columns: dict[str, int] = field(init=False)
    _readers: dict[str, Callable[[Score], float | None]] = field(init=False)
    _counted: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._readers = {m.name: row_value(m.row_value) for m in self.metrics if _applies(m, self.decode)}
        if any(m.kind == "correlation" for m in self.metrics):
            self._readers |= {NUMBER: row_value("number"), REFERENCE_NUMBER: row_value("reference_number")}
        hits = {m.row_value for m in self.metrics if m.kind == "counts"}
        self._counted = tuple(f"{part}:" for part in (*hits, *COUNTED, "correct")) if hits else ()
        self._sums = {name: RowSums(self.rows, self.repeats) for name in self._readers}
        self._answers = np.full((self.rows, self.repeats), NOT_ANSWERED, dtype=np.int32)
        self._columns = {label: i for i, label in enumerate(self.labels)}

    def add(self, line: LogLine) -> None:
        """Take in an answer (never an infrastructure error)."""
        score = line.score
        if score is None:
            raise UsageError(f"row {line.n} ({line.id}) was answered but carries no score: the log is damaged.")
        self.add_score(line.n, line.repeat, score)

    def add_score(self, n: int, repeat: int, score: Score) -> None:
        """Take in the score of the answer to row `n`."""
        self._answers[n, repeat] = self._columns.get(score.answer or "", len(self.labels))
        for name, read in self._readers.items():
            value = read(score)
            if value is not None:
                self._sums[name].add(n, value)
        if self._counted:
            for key, value in score.values.items():
                if key.startswith(self._counted):
                    if key not in self._sums:
                        self._sums[key] = RowSums(self.rows, self.repeats)
                    self._sums[key].add(n, value)

    def build(self) -> Outcomes:
        """What has been gathered; once, for the sums are given up on the way. Raises UsageError where a metric that
        says it is right or wrong row by row is neither."""
        values = RowValues()
        shares = {m.name for m in self.metrics if m.proportion}
        for name in self._readers:
            means = self._sums.pop(name).means()
            if name in shares and ((means < 0) | (means > 1)).any():
                raise UsageError(
                    f"the metric {name} has values from {np.nanmin(means):g} to {np.nanmax(means):g}, and its task "
                    "says that each is 0 or 1: give the Metric proportion=False, then use `bench run --resume last`."
                )
            values.keep(name, means)
        answered = (self._answers != NOT_ANSWERED).sum(axis=1)
        for key in list(self._sums):  # counts: a label that a score does not mention has none
            sums = self._sums.pop(key).sums
            values.keep(key, np.divide(sums, answered, out=np.full(self.rows, np.nan), where=answered > 0))
        for metric in self.metrics:
            if metric.name in self._readers and metric.name not in shares and metric.bounds is not None:
                _refuse_outside(metric, values[metric.name])
        return Outcomes(self.decode, values, self._answers, self.watched, self.sequential)


def _refuse_outside(metric: Metric, values: Array) -> None:
    """Raises UsageError where a graded value lies outside of the range that its metric declares."""
    assert metric.bounds is not None
    low, high = metric.bounds
    slack = 1e-9 * (high - low)
    if (values < low - slack).any() or (values > high + slack).any():
        raise UsageError(
            f"the metric {metric.name} has values from {np.nanmin(values):g} to {np.nanmax(values):g}, and its task "
            f"says that they lie from {low:g} to {high:g}: correct low and high of the Metric, then continue with "
            "`bench run --resume last`."
        )


def _applies(metric: Metric, decode: str) -> bool:
    return metric.kind == "mean" and not (metric.about_format and decode in HAS_NO_FORMAT)


def row_value(name: str) -> Callable[[Score], float | None]:
    """How a mean metric reads a score; None where the score says nothing."""
    if name == "correct":
        return lambda score: None if score.correct is None else float(score.correct)
    if name == "lenient_correct":
        return lambda score: None if score.lenient.correct is None else float(score.lenient.correct)
    if name == "format_error":
        return lambda score: float(score.format is not None)
    if name == "lenient_format_error":
        return lambda score: float(score.lenient.answer is None)
    return lambda score: score.values.get(name)


def cluster_codes(rows: RowTable, chosen: NDArray[np.bool_]) -> Codes | None:
    """Group numbers of the chosen rows; None where rows are independent."""
    return None if rows.groups is None else rows.groups[chosen]
