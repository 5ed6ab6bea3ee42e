"""The explorer's data are complete where they fit, and say what they lack where they do not."""

import base64
import gzip
from typing import Any

import msgspec
import pytest

from harness.reports.explorer_payload import ExplorerPayload, pack
from harness.reports.row_selection import ERROR, PARTLY, RIGHT, UNSCORED, WRONG, verdict
from harness.reports.row_table import ReportRows
from harness.results import Summary
from harness.runs.run_log import RunLog


def unpack(packed: ExplorerPayload) -> dict[str, Any]:
    found = msgspec.json.decode(gzip.decompress(base64.b64decode(packed.data)))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def book(log: RunLog) -> ReportRows:
    return ReportRows.of(log, log.manifest.backends)


def test_every_row_answer_and_verdict_is_there(log: RunLog, summary: Summary, book: ReportRows) -> None:
    rows = unpack(pack(book, summary.backends, {"llama-ft": [3]}, {"gpt4": [1, 2]}))
    assert rows["ids"] == [r.sample.id for r in log.rows()]
    gpt4 = next(b for b in rows["backends"] if b["name"] == "gpt4")
    for key, line in log.lines("gpt4").items():
        assert gpt4["verdict"][key.n] == verdict(line)
        text = gpt4["texts"]["values"][gpt4["texts"]["codes"][key.n]]
        assert text == (line.text if line.error is None else line.error.message)
    assert rows["backends"][0]["learned"] == [3]
    assert gpt4["apart"] == [1, 2] and rows["backends"][0]["apart"] == []


def test_thoughts_stand_beside_the_answers_of_kept_rows(log: RunLog, summary: Summary, book: ReportRows) -> None:
    name = next(iter(book.answers))
    whole = book.pick(range(len(book)))
    whole.answers[name].reasonings.update({0: "first", 2: "third"})
    rows = unpack(pack(whole, summary.backends))
    told = {b["name"]: b["reasonings"] for b in rows["backends"]}
    assert told.pop(name) == {"0": "first", "2": "third"}
    assert not any(told.values())
    assert whole.pick([2]).answers[name].reasonings == {0: "third"}


def test_a_prompt_is_its_frame_with_the_rows_own_text_put_in(log: RunLog, summary: Summary, book: ReportRows) -> None:
    rows = unpack(pack(book, summary.backends))
    assert len(rows["frames"]) == 1 and rows["frame"] is None
    pieces = rows["frames"][0]["pieces"][0]
    for row in log.rows():
        assert pieces[0] + rows["own"][row.n][0] + pieces[1] == row.request.messages[0].content


def test_a_page_that_would_be_too_large_keeps_verdicts_and_the_texts_of_wrong_rows(
    summary: Summary, book: ReportRows
) -> None:
    whole = pack(book, summary.backends)
    small = pack(book, summary.backends, limit=int(0.8 * len(whole.data)))
    rows = unpack(small)
    assert len(small.data) <= 0.8 * len(whole.data)
    assert 0 < small.kept < small.rows == len(book)
    kept = {n for n, own in enumerate(rows["own"]) if own is not None}
    assert len(kept) == small.kept
    disputed = {n for n in range(len(book)) if book.disputed(n)}
    assert kept <= disputed or disputed <= kept
    assert all(len(b["verdict"]) == len(book) for b in rows["backends"])


def test_the_same_rows_give_the_same_bytes(summary: Summary, book: ReportRows) -> None:
    assert pack(book, summary.backends).data == pack(book, summary.backends).data


def test_verdicts_have_a_code_each() -> None:
    assert len({ERROR, RIGHT, WRONG, PARTLY, UNSCORED}) == 5
    assert verdict(None) == 0
