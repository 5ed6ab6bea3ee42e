"""Probes for leaks: the same rows with their own texts blanked, or given to other rows.

A candidate that still answers well knows the answers from elsewhere: from the prompt, or from rows it has seen.
"""

import random
from array import array
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from harness.errors import UsageError
from harness.prompting.rendering import cut_passages
from harness.records import Message, Passage, Request

Probe = Literal["blank", "shuffle"]


def probe_requests(requests: Sequence[Request], probe: Probe, seed: int) -> Iterator[Request]:
    """The requests as a probe asks them: "blank" empties every passage, "shuffle" swaps them between rows.

    Raises UsageError where a request marks no text: it would be asked as it stands, and right answers called a leak.
    """
    others = _others(len(requests), seed) if probe == "shuffle" else None
    for n, request in enumerate(requests):
        if not request.passages:
            raise UsageError(
                f"--probe {probe}: the prompt of row {request.id} marks no text as the row's own (passages)."
            )
        if others is None:
            yield cut_passages(request, 0)
        else:
            yield fill_passages(request, requests[others[n]].passage_texts())


def _others(rows: int, seed: int) -> "array[int]":
    """For every row another, whose texts it is asked about: none keeps its own (one row alone does)."""
    order = array("q", range(rows))
    random.Random(seed).shuffle(order)
    others = array("q", order)
    for k, here in enumerate(order):
        others[here] = order[(k + 1) % rows]
    return others


def fill_passages(request: Request, texts: Sequence[str]) -> Request:
    """The request with other texts in its passages, in order; missing ones become empty."""
    contents = [m.content for m in request.messages]
    passages: list[Passage] = []
    shift = [0] * len(contents)
    given = list(zip(request.passages, [*texts, *[""] * len(request.passages)], strict=False))
    for p, text in sorted(given, key=lambda pair: (pair[0].message, pair[0].start)):
        start, content = p.start + shift[p.message], contents[p.message]
        contents[p.message] = content[:start] + text + content[start + p.end - p.start :]
        passages.append(Passage(message=p.message, start=start, end=start + len(text)))
        shift[p.message] += len(text) - (p.end - p.start)
    messages = tuple(Message(role=m.role, content=c) for m, c in zip(request.messages, contents, strict=True))
    return msgspec.structs.replace(request, messages=messages, passages=tuple(passages))
