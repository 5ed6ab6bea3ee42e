"""The row explorer's data: columns as JSON, compressed, in base64, within a limit on the size of the page.

Where a run is too large, rows that any backend got wrong keep their texts first, then a sample of the others;
every row of the book keeps its verdicts, so filters and counts stay complete. What is left out is said on the page.
"""

import base64
import gzip
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from harness.reports.row_selection import VERDICTS
from harness.reports.row_table import AnswerColumns, CodedColumn, Frame, ReportRows
from harness.text_sanitize import visible

LIMIT = 18_000_000
"""Bytes of base64 in a page, so that with everything else it stays below 20 MB."""
FEW = 200
SHORT = 60
"""Columns of more distinct values than FEW, or of values longer than SHORT, are shown but offer no filter."""


class BackendFacts(Protocol):
    """What a backend is, as results and comparisons know it."""

    @property
    def decode(self) -> str: ...
    @property
    def model(self) -> str: ...


class ExplorerPayload(NamedTuple):
    """data: base64 of gzip of JSON; kept: rows whose texts are in it; listed: rows in it; rows: those of the run."""

    data: str
    kept: int
    listed: int
    rows: int


def pack(
    book: ReportRows,
    who: Mapping[str, BackendFacts],
    learned: Mapping[str, list[int]] | None = None,
    apart: Mapping[str, list[int]] | None = None,
    limit: int = LIMIT,
) -> ExplorerPayload:
    """Columns of all rows; the texts of as many as fit into `limit` bytes.

    who: what each backend of the book is. learned: backend -> positions of rows that are also among those its
    adapter was trained on. apart: backend -> positions of rows that a parity check found answered differently.
    """
    marks = {"learned": learned or {}, "apart": apart or {}}
    order: Sequence[int] | None = None
    keep = len(book)
    while True:
        data = _encode(_payload(book, who, marks, None if keep == len(book) else set((order or [])[:keep])))
        if len(data) <= limit or keep == 0:
            rows = len(book) if book.selection is None else book.selection.rows
            return ExplorerPayload(data, keep, len(book), rows)
        order = order or _by_interest(book)
        keep = int(keep * min(0.95 * limit / len(data), 0.9))


def _by_interest(book: ReportRows) -> list[int]:
    """Disputed rows first; within both parts in an order whose every beginning is spread over the run."""
    disputed = [n for n in range(len(book)) if book.disputed(n)]
    rest = sorted(set(range(len(book))) - set(disputed))
    return [*_spread(disputed), *_spread(rest)]


def _spread(rows: list[int]) -> list[int]:
    """Every 64th row, then every 32nd of what is left, and so on."""
    found: list[int] = []
    seen: set[int] = set()
    step = 64
    while step:
        new = [n for n in rows[::step] if n not in seen]
        seen.update(new)
        found += new
        step //= 2
    return found


def _encode(payload: dict[str, Any]) -> str:
    plain = msgspec.json.encode(payload)
    # mtime 0: the same rows give the same bytes; level 6: 9 takes three times as long for one per cent
    return base64.b64encode(gzip.compress(plain, 6, mtime=0)).decode()


def _payload(
    book: ReportRows,
    who: Mapping[str, BackendFacts],
    marks: Mapping[str, Mapping[str, list[int]]],
    keep: set[int] | None,
) -> dict[str, Any]:
    places = book.own, book.frame_codes
    labelled = all(len(text) <= SHORT for text in book.references.values) and len(book.references.values) <= FEW
    return {
        "verdicts": VERDICTS,
        "ids": book.ids,
        "references": _column(book.references, None),
        "frames": _frames(book, keep),
        "frame": book.frame_codes if len(book.frames) > 1 else None,
        "own": book.own if keep is None else [own if n in keep else None for n, own in enumerate(book.own)],
        "columns": {visible(name): _column(column, None) for name, column in book.columns.items()},
        "numbers": book.numbers or None,
        "lengths": [sum(map(len, own)) or _length(book.frames[code]) for own, code in zip(*places, strict=True)],
        "inputs": list(map(visible, book.inputs)),
        "labelled": labelled,
        "few": FEW,
        "short": SHORT,
        "backends": [
            {
                "name": visible(name),
                "decode": visible(who[name].decode),
                "model": visible(who[name].model),
                **{mark: rows.get(name, []) for mark, rows in marks.items()},
                **_answers(answers, keep),
            }
            for name, answers in book.answers.items()
        ],
    }


def _length(frame: Frame) -> int:
    """Characters of the last message of a prompt that marks no text as the row's own."""
    return sum(map(len, frame.pieces[-1])) if frame.pieces else 0


def _frames(book: ReportRows, keep: set[int] | None) -> list[dict[str, Any] | None]:
    """The frames of kept rows; others would carry the texts of rows that mark no passage."""
    rows = range(len(book)) if keep is None else keep
    used = {book.frame_codes[n] for n in rows}
    return [
        {"roles": list(map(visible, f.roles)), "pieces": [list(map(visible, p)) for p in f.pieces]}
        if i in used
        else None
        for i, f in enumerate(book.frames)
    ]


def _column(column: CodedColumn, keep: set[int] | None) -> dict[str, Any]:
    if keep is None:
        return {"values": column.values, "codes": column.codes}
    kept = CodedColumn()
    for n in range(len(column.codes)):
        kept.add(column.text(n) if n in keep else None)
    return {"values": kept.values, "codes": kept.codes}


def _answers(answers: AnswerColumns, keep: set[int] | None) -> dict[str, Any]:
    few_texts = len(answers.texts.values) <= FEW  # labels cost nothing: keep them for every row
    return {
        "verdict": list(answers.verdicts),
        "kinds": _column(answers.kinds, None),
        "texts": _column(answers.texts, None if few_texts else keep),
        "ms": answers.milliseconds,
        "tokens": answers.tokens,
        **({"confidence": answers.confidence} if answers.confidence else {}),
        "reasonings": {str(n): text for n, text in answers.reasonings.items() if keep is None or n in keep},
        "repeats": {str(n): r for n, r in answers.repeats.items() if keep is None or n in keep},
    }
