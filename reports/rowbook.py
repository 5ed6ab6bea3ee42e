"""The rows of a run in columns: read once through RunLog, one backend's log in memory at a time."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.records import Key, LogLine
from harness.runlog import RunLog

from .prompts import Frame, split
from .visible import visible

MISSING, ERROR, RIGHT, WRONG, PARTLY, UNSCORED = range(6)
"""What became of a row: no line, infrastructure error, right, wrong, repeats that disagree, no right answer known."""
VERDICTS = ("missing", "error", "right", "wrong", "partly right", "not scored")


class Coded:
    """A column of texts that repeat: the distinct ones (made visible) and a code per row; -1 is no text."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.codes: list[int] = []
        self._known: dict[str, int] = {}

    def code(self, text: str) -> int:
        """The code of a text, new or known."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = len(self.values)
            self.values.append(visible(text))
        return found

    def add(self, text: str | None) -> None:
        """The next row's text."""
        self.codes.append(-1 if text is None else self.code(text))

    def pick(self, rows: Sequence[int]) -> "Coded":
        """The column of these rows alone, in this order."""
        picked = Coded()
        picked.values, picked._known = self.values, self._known
        picked.codes = [self.codes[n] for n in rows]
        return picked

    def text(self, row: int) -> str | None:
        """A row's text."""
        code = self.codes[row]
        return None if code < 0 else self.values[code]


@dataclass
class Answers:
    """One backend's answers, a value per row.

    verdicts: codes of VERDICTS. kinds: of the format or infrastructure error. texts: the first repeat's answer,
    or the message of the error. milliseconds: of service. tokens: of the answer. reasonings: row -> the model's
    thoughts before the first repeat's answer, where it gave any. repeats: row -> the further repeats as (text,
    verdict code), where a row was asked more than once.
    """

    verdicts: bytearray
    kinds: Coded = field(default_factory=Coded)
    texts: Coded = field(default_factory=Coded)
    milliseconds: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    reasonings: dict[int, str] = field(default_factory=dict)
    repeats: dict[int, list[tuple[str, int]]] = field(default_factory=dict)

    def pick(self, rows: Sequence[int]) -> "Answers":
        """The answers to these rows alone, in this order."""
        return Answers(
            bytearray(self.verdicts[n] for n in rows),
            self.kinds.pick(rows),
            self.texts.pick(rows),
            [self.milliseconds[n] for n in rows],
            [self.tokens[n] for n in rows],
            {k: self.reasonings[n] for k, n in enumerate(rows) if n in self.reasonings},
            {k: self.repeats[n] for k, n in enumerate(rows) if n in self.repeats},
        )


@dataclass
class RowBook:
    """All rows of a run, column by column. A row's place in every list is its position `n`."""

    ids: list[str] = field(default_factory=list)
    references: Coded = field(default_factory=Coded)
    frames: list[Frame] = field(default_factory=list)
    frame_codes: list[int] = field(default_factory=list)
    own: list[list[str]] = field(default_factory=list)
    columns: dict[str, Coded] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)

    @classmethod
    def of(cls, log: RunLog, backends: Iterable[str]) -> "RowBook":
        """Read a run."""
        with _collector_at_rest():
            return cls._read(log, backends)

    @classmethod
    def _read(cls, log: RunLog, backends: Iterable[str]) -> "RowBook":
        book = cls()
        known: dict[Frame, int] = {}
        for row in log.rows():
            frame, own = split(row.request)
            code = known.setdefault(frame, len(known))
            if code == len(book.frames):
                book.frames.append(frame)
            book.ids.append(visible(row.sample.id))
            book.references.add(row.sample.reference)
            book.frame_codes.append(code)
            book.own.append([visible(text) for text in own])
            for name in row.sample.columns:
                if name not in book.columns:
                    book.columns[name] = Coded()
                    book.columns[name].codes = [-1] * row.n
            for name, column in book.columns.items():
                column.add(row.sample.columns.get(name))
        for name in backends:
            book.answers[name] = _answers(log.lines(name), len(book.ids), log.manifest.repeats)
        return book

    def pick(self, rows: Sequence[int]) -> "RowBook":
        """These rows alone, in this order."""
        return RowBook(
            [self.ids[n] for n in rows],
            self.references.pick(rows),
            self.frames,
            [self.frame_codes[n] for n in rows],
            [self.own[n] for n in rows],
            {name: column.pick(rows) for name, column in self.columns.items()},
            {name: answers.pick(rows) for name, answers in self.answers.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)

    def parts(self) -> Iterator[tuple[Frame, list[str]]]:
        """Every row's frame and own texts."""
        return ((self.frames[code], own) for code, own in zip(self.frame_codes, self.own, strict=True))

    def disputed(self, row: int) -> bool:
        """Whether somebody did not get this row right, or two answers differ."""
        verdicts = {a.verdicts[row] for a in self.answers.values()}
        return verdicts != {RIGHT}


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """No search for cycles meanwhile: rows come by the hundred thousand and hold none, and the search takes 40 %."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _answers(lines: dict[Key, LogLine], rows: int, repeats: int) -> Answers:
    found = Answers(bytearray(rows))
    for n in range(rows):
        first = lines.get(Key(n, 0))
        found.verdicts[n] = verdict(first)
        if first is None:
            found.kinds.add(None)
            found.texts.add(None)
            found.milliseconds.append(0)
            found.tokens.append(0)
        else:
            found.kinds.add(kind(first))
            found.texts.add(first.text if first.error is None else first.error.message)
            found.milliseconds.append(round(1000 * first.timing.service_s))
            found.tokens.append(first.usage.completion_tokens)
            if first.reasoning:
                found.reasonings[n] = visible(first.reasoning)
        if repeats > 1:
            _add_repeats(found, n, [x for k in range(1, repeats) if (x := lines.get(Key(n, k))) is not None])
    return found


def _add_repeats(found: Answers, n: int, further: list[LogLine]) -> None:
    found.repeats[n] = [(visible(x.text if x.error is None else x.error.message), verdict(x)) for x in further]
    scored = {v for v in (found.verdicts[n], *(v for _, v in found.repeats[n])) if v in (RIGHT, WRONG)}
    if len(scored) == 2:
        found.verdicts[n] = PARTLY


def verdict(line: LogLine | None) -> int:
    """The code of what became of one request."""
    if line is None:
        return MISSING
    if line.error is not None:
        return ERROR
    if line.score is None or line.score.correct is None:
        return UNSCORED
    return RIGHT if line.score.correct else WRONG


def kind(line: LogLine) -> str | None:
    """The kind of infrastructure error, else of format error, else None."""
    if line.error is not None:
        return line.error.kind
    return None if line.score is None else line.score.format
