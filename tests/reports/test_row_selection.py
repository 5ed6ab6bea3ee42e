"""A page of a run with more rows than a browser opens: a sample, rows that were not right, and the counts."""

import base64
import functools
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from harness.reports import compare_page, run_page
from harness.reports.explorer_payload import pack
from harness.reports.row_selection import RIGHT, RowSelection, rows_that, select_rows
from harness.reports.row_table import MOST, Frame, ReportRows, most_frequent, wrong_answers
from harness.reports.run_page import write_report
from harness.runs.run_log import RunLog
from harness.summary.stored_verdict import by_rank
from tests.support.synthetic_run import synthetic_run

ROWS, SHOWN = 400, 80


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    path = tmp_path_factory.mktemp("large") / "run"
    synthetic_run(path, ROWS)
    return RunLog.open(path)


def names(log: RunLog) -> list[str]:
    summary = log.summary()
    assert summary is not None
    return list(by_rank(summary))


def selected(log: RunLog) -> RowSelection:
    found = select_rows(log, names(log), SHOWN)
    assert found is not None
    return found


def test_a_run_that_fits_is_shown_whole(log: RunLog) -> None:
    assert select_rows(log, names(log), ROWS) is None


def test_a_quarter_is_the_beginning_of_the_random_order_and_the_rest_was_not_right(log: RunLog) -> None:
    found = selected(log)
    whole = ReportRows.of(log, names(log))
    assert len(found.positions) == SHOWN
    assert found.rows == ROWS
    assert (np.diff(found.positions) > 0).all()
    assert found.positions[: SHOWN // 4].tolist() == list(range(SHOWN // 4))
    assert all(whole.disputed(int(n)) for n in found.positions[SHOWN // 4 :])
    assert found.wrong == wrong_answers(whole)[1]


def test_rows_that_were_all_right_fill_what_is_left(log: RunLog) -> None:
    best = names(log)[:1]
    found = select_rows(log, best, ROWS - 5)
    assert found is not None
    left_out = set(range(ROWS)) - set(found.positions.tolist())
    verdicts = ReportRows.of(log, best).answers[best[0]].verdicts
    assert {verdicts[n] for n in left_out} == {RIGHT}


def test_the_selected_rows_are_those_of_the_whole_run(log: RunLog) -> None:
    found = selected(log)
    part, whole = ReportRows.of(log, names(log), found), ReportRows.of(log, names(log))
    for k, n in enumerate(found.positions.tolist()):
        assert (part.ids[k], part.own[k], part.references.text(k)) == (
            whole.ids[n],
            whole.own[n],
            whole.references.text(n),
        )
        for name in names(log):
            mine, theirs = part.answers[name], whole.answers[name]
            assert mine.verdicts[k] == theirs.verdicts[n]
            assert mine.texts.text(k) == theirs.texts.text(n)


def test_the_page_says_how_many_rows_it_lists_of_how_many(
    log: RunLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_page, "select_rows", functools.partial(select_rows, most=SHOWN))
    page = write_report(log, tmp_path / "page.html").read_text("utf-8")
    assert f"{SHOWN} of {ROWS} rows are listed" in page
    assert f"{selected(log).wrong} rows were answered wrongly" in page
    assert f"{MOST} of" not in page


def test_the_payload_counts_rows_of_the_run_and_rows_listed(log: RunLog) -> None:
    summary = log.summary()
    assert summary is not None
    packed = pack(ReportRows.of(log, names(log), selected(log)), summary.backends)
    assert (packed.kept, packed.listed, packed.rows) == (SHOWN, SHOWN, ROWS)
    assert len(json.loads(gzip.decompress(base64.b64decode(packed.data)))["ids"]) == SHOWN


def test_rows_of_another_run_are_found_by_id(log: RunLog) -> None:
    wanted = {row.sample.id for row in log.rows() if row.n % 7 == 3}
    found = rows_that(log, lambda sample: sample.id in wanted)
    assert found.positions.tolist() == list(range(3, ROWS, 7))


def test_frames_beyond_the_bound_are_counted_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.reports.row_table.MOST_FRAMES", 3)
    texts = ["a", "b", "a", "c", "d", "e", "a", "d"]
    kept, kinds = most_frequent((Frame(("user",), ((text,),)), []) for text in texts)
    assert [(frame.pieces[0][0], n) for frame, _, n in kept] == [("a", 3), ("b", 1), ("c", 1)]
    assert kinds == 6, "each row with a further frame counts as one kind"


def test_a_comparison_of_large_runs_lists_the_same_rows_of_both(
    log: RunLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.gating.compare_runs import compare_two_runs
    from harness.gating.evaluate import GateSource

    monkeypatch.setattr(compare_page, "MOST_ROWS", SHOWN)
    monkeypatch.setattr(compare_page, "select_rows", functools.partial(select_rows, most=SHOWN))
    source = GateSource.of_run(log)
    found = compare_two_runs(source, source, *names(log)[:2])
    page = compare_page.write_compare(found, log, log, tmp_path / "page.html").read_text("utf-8")
    assert f"{SHOWN} of {ROWS} rows are listed" in page
    assert f"Rows that flipped, of the {SHOWN} rows that are listed" in page
