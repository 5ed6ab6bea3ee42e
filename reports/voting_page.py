"""A page for blind votes on which of two answers is better. No server: votes are saved as a file."""

import base64
import gzip
import hashlib
from pathlib import Path

import msgspec
from markupsafe import Markup

from harness.errors import UsageError, did_you_mean
from harness.files import write_whole
from harness.reports.jinja_env import render
from harness.reports.row_selection import ERROR, MISSING
from harness.reports.row_table import ReportRows, shown
from harness.runs.run_log import RunLog
from harness.text_sanitize import visible

MOST = 200
"""Rows on a page: more than one rater judges in an afternoon."""


def write_voting(log: RunLog, a: str, b: str, out: Path, *, most: int = MOST) -> Path:
    """Write the page for two backends of a run to `out` and return it.

    Which answer is first is decided by a hash of the row, so that neither the reader nor the order of the
    backends' names does. Rows on which both say the same are left out; white space around an answer is no part of it.
    Raises UsageError for an unknown backend, or where no two answers differ.
    """
    for name in (a, b):
        if name not in log.manifest.backends:
            raise UsageError(f"this run has no backend '{name}'{did_you_mean(name, log.manifest.backends)}.")
    if a == b:
        raise UsageError(f"'{a}' cannot be voted against itself: name two backends.")
    rows = _rows(ReportRows.of(log, (a, b)), a, b)[:most]
    if not rows:
        raise UsageError(f"{a} and {b} gave no two different answers: there is nothing to vote on.")
    plain = msgspec.json.encode({"run": log.manifest.id, "a": a, "b": b, "rows": rows})
    data = Markup(base64.b64encode(gzip.compress(plain, 6, mtime=0)).decode())  # base64 only
    page = render("voting.html.j2", scripts=("voting.js",), task=log.manifest.task, rows=len(rows), data=data)
    write_whole(out, page.encode())
    return out


def _rows(book: ReportRows, a: str, b: str) -> list[dict[str, object]]:
    """Rows that both answered differently, in an order of hashes: a beginning of it is a fair sample."""
    found = []
    for n, identity in enumerate(book.ids):
        if any(book.answers[x].verdicts[n] in (MISSING, ERROR) for x in (a, b)):
            continue
        texts = {x: (book.answers[x].texts.text(n) or "").strip() for x in (a, b)}
        if texts[a] == texts[b]:
            continue
        lot = hashlib.sha256(f"{a}\0{b}\0{identity}".encode()).digest()
        order = (a, b) if lot[0] % 2 == 0 else (b, a)
        messages = shown(book.frames[book.frame_codes[n]], book.own[n])
        row = {
            "n": n,
            "id": identity,
            "first": "a" if order[0] == a else "b",
            "prompt": [{"role": visible(m.role), "text": visible("".join(t for t, _ in m.parts))} for m in messages],
            "answers": [texts[x] for x in order],
        }
        found.append((lot, row))
    return [row for _, row in sorted(found, key=lambda item: item[0])]
