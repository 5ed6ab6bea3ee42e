"""A static site: an index by task, a page per run, and how figures moved from run to run."""

import re
from pathlib import Path

import msgspec
import pytest

from harness.reports.leaderboard_site import trend, write_leaderboard
from harness.results import Summary
from harness.runs.run_log import RunLog
from tests.support.command import bench
from tests.support.synthetic_run import MAKERS, synthetic_run


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    """A later run of two backends on other rows."""
    makers = {name: MAKERS[name] for name in ("llama-ft", "gpt4")}
    return synthetic_run(tmp_path_factory.mktemp("runs") / "later", 120, seed=1, makers=makers)


@pytest.fixture(scope="module")
def site(log: RunLog, later: RunLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both runs."""
    return write_leaderboard([log, later], tmp_path_factory.mktemp("site"))[0].parent


def relabelled(log: RunLog, folder: Path, task: str) -> RunLog:
    """The same run under another task's name."""
    copy = RunLog.create(folder, msgspec.structs.replace(log.manifest, task=task, id=f"{task}-1"), [])
    summary = log.summary()
    assert summary is not None
    copy.write_summary(msgspec.structs.replace(summary, task=task, run=f"{task}-1"))
    return copy


def test_the_index_has_a_row_per_backend_and_run_newest_first(site: Path) -> None:
    index = (site / "index.html").read_text("utf-8")
    assert len(re.findall(r'<th scope="row"', index)) == 6
    assert index.index("2026-01-03") < index.index("2026-01-02")
    assert "2 b" in index and "shut down 2025-09-01" in index and "for choose" in index


def test_every_link_leads_to_a_page_that_is_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#]+)"', page.read_text("utf-8")):
            assert (page.parent / target).is_file(), target


def test_two_runs_of_one_id_keep_a_page_each(later: RunLog, tmp_path: Path) -> None:
    written = write_leaderboard([later, later], tmp_path, redact=True)
    assert len({p for p in written if p.parent.name == "runs"}) == 2


def test_tasks_have_boards_of_their_own(later: RunLog, tmp_path: Path) -> None:
    other = relabelled(later, tmp_path / "run", "zebra")
    write_leaderboard([later, other], tmp_path / "site", redact=True)
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert re.findall(r'<h2 id="h-task-\d">(\w+)</h2>', index) == ["agnews", "zebra"]
    assert not (tmp_path / "site" / "trend.html").exists()


def test_a_curve_is_cut_where_rows_or_prompts_changed(log: RunLog, later: RunLog, summary: Summary) -> None:
    newer = later.summary()
    assert newer is not None
    manifest = msgspec.structs.replace(later.manifest, request_hash="b" * 64)
    cut = trend("agnews", [(log.manifest, summary), (manifest, newer)])
    whole = trend("agnews", [(log.manifest, summary), (later.manifest, newer)])
    assert cut is not None and whole is not None
    assert "across it figures cannot be compared" in cut.caption and "across it" not in whole.caption
    assert trend("agnews", [(log.manifest, summary)]) is None


def test_a_redacted_site_holds_no_row(log: RunLog, tmp_path: Path) -> None:
    write_leaderboard([log], tmp_path, redact=True)
    text = "".join(p.read_text("utf-8") for p in tmp_path.rglob("*.html"))
    assert not any(row.sample.inputs["text"] in text for row in log.rows())


def test_the_verb_takes_all_finished_runs_of_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], later: RunLog
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    for expected, made in ((2, False), (0, True)):
        if made:
            relabelled(later, tmp_path / "runs" / "one", "agnews")
        assert bench("leaderboard", "--out", str(tmp_path / "site"), "--json") == expected
    out, err = capsys.readouterr()
    pages = msgspec.json.decode(out)["pages"]
    assert "there is no finished run" in err and all(Path(p).is_file() for p in pages) and len(pages) == 2
