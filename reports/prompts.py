"""The prompts as they were sent: the part that all rows share, and each row's own texts within it."""

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import NamedTuple

from harness.records import Request


class Shown(NamedTuple):
    """One message; parts are (text, whether it is the row's own)."""

    role: str
    parts: list[tuple[str, bool]]


class Frame(NamedTuple):
    """A prompt without the row's own texts: per message its role and the pieces around the passages."""

    roles: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]


def split(request: Request) -> tuple[Frame, list[str]]:
    """A request's frame, and the row's own texts in the order in which they stand in it."""
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
    """The pieces that stand in the frames of all rows, so that they are no row's own; none of a single row."""
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


def most_frequent(
    parts: Iterable[tuple[Frame, list[str]]], most: int = 5
) -> tuple[list[tuple[Frame, list[str], int]], int]:
    """The distinct frames with one row's texts and their number of rows, most frequent first; and how many there are.

    parts: of every row, as `split` gives them.
    At most `most` are returned: where a row's text is not marked as a passage, every row is a frame of its own.
    """
    seen: dict[Frame, tuple[list[str], int]] = {}
    for frame, own in parts:
        first, n = seen.get(frame, (own, 0))
        seen[frame] = (first, n + 1)
    order = sorted(((f, own, n) for f, (own, n) in seen.items()), key=lambda item: -item[2])
    return order[:most], len(order)


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
