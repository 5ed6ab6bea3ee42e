"""The rows of a run in columns, the prompts as sent, and wrong answers for pages without scripts."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

from harness.confidence import PREFERRED, answer_confidence
from harness.records import Key, LogLine, Request
from harness.reports.row_selection import PARTLY, RIGHT, UNSCORED, VERDICTS, WRONG, RowSelection, kind, verdict
from harness.runs.run_log import RunLog
from harness.text_sanitize import visible, visible_line


class Shown(NamedTuple):
    """One message; parts are (text, whether it is the row's own)."""

    role: str
    parts: list[tuple[str, bool]]


class Frame(NamedTuple):
    """A prompt without the row's own texts: per message its role and the pieces around the passages."""

    roles: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]


def split(request: Request) -> tuple[Frame, list[str]]:
    """A request's frame, and the row's own texts in order."""
    pieces, own = [], []
    for i, message in enumerate(request.messages):
        cut, end = [], 0
        for p in sorted((p for p in request.passages if p.message == i), key=lambda p: p.start):
            cut.append(message.content[end : p.start])
            own.append(message.content[p.start : p.end])
            end = p.end
        pieces.append((*cut, message.content[end:]))
    return Frame(tuple(m.role for m in request.messages), tuple(pieces)), own


LEFT_OUT = "⟨left out⟩"


def common_pieces(frames: Iterable[Frame]) -> frozenset[str]:
    """The pieces in the frames of all rows, so that they belong to no single row; none if there is one row."""
    each = (frozenset(piece for cut in frame.pieces for piece in cut) for frame in frames)
    first, second = next(each, frozenset()), next(each, frozenset())
    return reduce(frozenset.intersection, each, first & second)


def redacted(frame: Frame, common: frozenset[str], shots: bool) -> Frame:
    """A frame for sharing: what not all rows have in common is left out, and with `shots` all messages that may be
    solved rows. A task may put texts of a row where it marks no passage: a persona, the turns before."""

    def kept(role: str, cut: tuple[str, ...]) -> Iterator[str]:
        example = shots and role != "system" and len(cut) == 1
        return (piece if not piece or (piece in common and not example) else LEFT_OUT for piece in cut)

    pieces = (tuple(kept(role, cut)) for role, cut in zip(frame.roles, frame.pieces, strict=True))
    return Frame(frame.roles, tuple(pieces))


MOST_FRAMES = 20_000


def most_frequent(
    parts: Iterable[tuple[Frame, list[str]]], most: int = 5
) -> tuple[list[tuple[Frame, list[str], int]], int]:
    """The distinct frames with one row's texts and their number of rows, most frequent first; and how many there are.

    parts: of every row, as `split` gives them. Beyond MOST_FRAMES distinct ones, each row with another counts as one.
    At most `most` are returned: where a row's text is not marked as a passage, every row is a frame of its own.
    """
    seen: dict[Frame, tuple[list[str], int]] = {}
    further = 0
    for frame, own in parts:
        if len(seen) >= MOST_FRAMES and frame not in seen:
            further += 1
            continue
        first, n = seen.get(frame, (own, 0))
        seen[frame] = (first, n + 1)
    order = sorted(((f, own, n) for f, (own, n) in seen.items()), key=lambda item: -item[2])
    return order[:most], len(order) + further


def shown(frame: Frame, own: list[str] | None) -> list[Shown]:
    """A frame with a row's texts put in and marked; with placeholders where own is None (for sharing)."""
    texts = iter(own) if own is not None else None
    k = 0
    messages = []
    for role, pieces in zip(frame.roles, frame.pieces, strict=True):
        parts = [(pieces[0], False)]
        for piece in pieces[1:]:
            k += 1
            parts += [(f"⟨the row's text {k}⟩" if texts is None else next(texts), True), (piece, False)]
        messages.append(Shown(role, [p for p in parts if p[0]]))
    return messages


class CodedColumn:
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

    def pick(self, rows: Sequence[int]) -> "CodedColumn":
        """The column of these rows alone, in this order."""
        picked = CodedColumn()
        picked.values, picked._known = self.values, self._known
        picked.codes = [self.codes[n] for n in rows]
        return picked

    def text(self, row: int) -> str | None:
        """A row's text."""
        code = self.codes[row]
        return None if code < 0 else self.values[code]


@dataclass
class AnswerColumns:
    """One backend's answers, a value per row.

    confidence: of the first repeat in thousandths, -1 for none; empty where no answer has one.

    verdicts: codes of VERDICTS. kinds: of the format or infrastructure error. texts: the first repeat's answer,
    or the message of the error. milliseconds: of service. tokens: of the answer. reasonings: row -> the model's
    thoughts before the first repeat's answer, where it gave any. repeats: row -> the further repeats as (text,
    verdict code), where a row was asked more than once.
    """

    verdicts: bytearray
    kinds: CodedColumn = field(default_factory=CodedColumn)
    texts: CodedColumn = field(default_factory=CodedColumn)
    milliseconds: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    reasonings: dict[int, str] = field(default_factory=dict)
    repeats: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    confidence: list[int] = field(default_factory=list)

    def pick(self, rows: Sequence[int]) -> "AnswerColumns":
        """The answers to these rows alone, in this order."""
        return AnswerColumns(
            bytearray(self.verdicts[n] for n in rows),
            self.kinds.pick(rows),
            self.texts.pick(rows),
            [self.milliseconds[n] for n in rows],
            [self.tokens[n] for n in rows],
            {k: self.reasonings[n] for k, n in enumerate(rows) if n in self.reasonings},
            {k: self.repeats[n] for k, n in enumerate(rows) if n in self.repeats},
            [self.confidence[n] for n in rows] if self.confidence else [],
        )


@dataclass
class ReportRows:
    """The rows of a run, column by column. A row's place in every list is its position `n`, where all rows are here.

    numbers: of rows that `pick` or a `selection` took, their positions in the run; empty where the two agree. inputs:
    names of the row's own texts, in their order; empty where not all rows have the same.
    """

    ids: list[str] = field(default_factory=list)
    references: CodedColumn = field(default_factory=CodedColumn)
    frames: list[Frame] = field(default_factory=list)
    frame_codes: list[int] = field(default_factory=list)
    own: list[list[str]] = field(default_factory=list)
    columns: dict[str, CodedColumn] = field(default_factory=dict)
    answers: dict[str, AnswerColumns] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    inputs: tuple[str, ...] = ()
    selection: RowSelection | None = None

    @classmethod
    def of(cls, log: RunLog, backends: Iterable[str], selection: RowSelection | None = None) -> "ReportRows":
        """Read a run, all of it or the rows of a selection."""
        with _collector_at_rest():
            return cls._read(log, backends, selection)

    @classmethod
    def _read(cls, log: RunLog, backends: Iterable[str], selection: RowSelection | None) -> "ReportRows":
        book = cls(selection=selection, numbers=[] if selection is None else selection.positions.tolist())
        known: dict[Frame, int] = {}
        places = None if selection is None else selection.places()
        for row in log.rows():
            if places is not None and row.n not in places:
                continue
            frame, own = split(row.request)
            code = known.setdefault(frame, len(known))
            if code == len(book.frames):
                book.frames.append(frame)
            book.ids.append(visible(row.sample.id))
            book.references.add(row.sample.reference)
            book.frame_codes.append(code)
            book.own.append([visible(text) for text in own])
            book.inputs = _names(row.sample.inputs, own, book.inputs if len(book.ids) > 1 else None)
            for name in row.sample.columns:
                if name not in book.columns:
                    book.columns[name] = CodedColumn()
                    book.columns[name].codes = [-1] * (len(book.ids) - 1)
            for name, column in book.columns.items():
                column.add(row.sample.columns.get(name))
        for name in backends:
            lines = _lines(log, name, places)
            book.answers[name] = _answers(lines, len(book.ids), log.manifest.repeats)
            temperature = log.manifest.backends[name].temperature if name in log.manifest.backends else None
            book.answers[name].confidence = _confidences(lines, len(book.ids), len(log.manifest.labels), temperature)
        return book

    def pick(self, rows: Sequence[int]) -> "ReportRows":
        """These rows alone, in this order."""
        return ReportRows(
            [self.ids[n] for n in rows],
            self.references.pick(rows),
            self.frames,
            [self.frame_codes[n] for n in rows],
            [self.own[n] for n in rows],
            {name: column.pick(rows) for name, column in self.columns.items()},
            {name: answers.pick(rows) for name, answers in self.answers.items()},
            [self.numbers[n] if self.numbers else n for n in rows],
            self.inputs,
            self.selection,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def parts(self) -> Iterator[tuple[Frame, list[str]]]:
        """Every row's frame and own texts."""
        return ((self.frames[code], own) for code, own in zip(self.frame_codes, self.own, strict=True))

    def disputed(self, row: int) -> bool:
        """Whether any backend got this row wrong, or two answers differ."""
        verdicts = {a.verdicts[row] for a in self.answers.values()}
        return verdicts != {RIGHT}


def _names(inputs: dict[str, str], own: list[str], before: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names of a row's own texts; empty where a text is no input, or the rows before had other names."""
    left = dict(inputs)
    found = []
    for text in own:
        name = next((name for name, value in left.items() if value == text), None)
        if name is None:
            return ()
        del left[name]
        found.append(name)
    return tuple(found) if before is None or before == tuple(found) else ()


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


def _lines(log: RunLog, backend: str, places: dict[int, int] | None) -> dict[Key, LogLine]:
    """The last line of every (place, repeat)."""
    if places is None:
        return log.lines(backend)
    lines = log.backend_log(backend).each_last()
    return {Key(places[line.n], line.repeat): line for line in lines if line.n in places}


def _answers(lines: dict[Key, LogLine], rows: int, repeats: int) -> AnswerColumns:
    found = AnswerColumns(bytearray(rows))
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


def _confidences(lines: dict[Key, LogLine], rows: int, labels: int, temperature: float | None) -> list[int]:
    """Of the first repeats, in thousandths; confidences outside of [0, 1] are a task's own and are left out."""
    found = [-1] * rows
    for n in range(rows):
        line = lines.get(Key(n, 0))
        said = None if line is None else shown_confidence(line, labels, temperature)
        if said is not None and 0 <= said <= 1:
            found[n] = int(1000 * said)
    return found if max(found, default=-1) >= 0 else []


def shown_confidence(line: LogLine, labels: int, temperature: float | None) -> float | None:
    """The confidence of one answer from the preferred source that it has."""
    if line.score is not None and line.score.confidence is not None:
        return line.score.confidence
    each = (answer_confidence(line, source, labels, temperature) for source in PREFERRED)
    return next((said for said in each if said is not None), None)


def _add_repeats(found: AnswerColumns, n: int, further: list[LogLine]) -> None:
    found.repeats[n] = [(visible(x.text if x.error is None else x.error.message), verdict(x)) for x in further]
    scored = {v for v in (found.verdicts[n], *(v for _, v in found.repeats[n])) if v in (RIGHT, WRONG)}
    if len(scored) == 2:
        found.verdicts[n] = PARTLY


MOST = 30
TEXT = 400
"""Rows of the static list, and characters of a text in it."""


class ShownAnswer(NamedTuple):
    """One backend's answer to a row: its text, the verdict in words, and whether it was right."""

    backend: str
    text: str
    verdict: str
    right: bool


class WrongRow(NamedTuple):
    """A row that at least one backend got wrong."""

    n: int
    text: str
    reference: str
    answers: list[ShownAnswer]


def wrong_answers(book: ReportRows) -> tuple[list[WrongRow], int]:
    """The first MOST rows that any backend got wrong or answered in a wrong form, and how many such the run has."""
    rows = [n for n in range(len(book)) if any(_is_wrong(answers, n) for answers in book.answers.values())]
    return [_wrong(book, n) for n in rows[:MOST]], len(rows) if book.selection is None else book.selection.wrong


def _is_wrong(answers: AnswerColumns, n: int) -> bool:
    code = answers.verdicts[n]
    return code in (WRONG, PARTLY) or (code == UNSCORED and answers.kinds.codes[n] >= 0)


def _wrong(book: ReportRows, n: int) -> WrongRow:
    own = book.own[n] or [book.frames[book.frame_codes[n]].pieces[-1][-1]]
    answers = []
    for name, found in book.answers.items():
        kind = found.kinds.text(n)
        verdict = VERDICTS[found.verdicts[n]] + (f" ({kind})" if kind else "")
        answers.append(
            ShownAnswer(name, visible_line(found.texts.text(n) or "", TEXT), verdict, found.verdicts[n] == RIGHT)
        )
    return WrongRow(n, visible_line(" / ".join(own), TEXT), visible_line(book.references.text(n) or "", TEXT), answers)
