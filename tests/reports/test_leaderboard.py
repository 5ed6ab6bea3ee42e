"""A static site: the best run of each candidate, pages of runs, and how figures moved from run to run."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest

from harness.files import write_json
from harness.gating.gate_result import ArmInfo, CheckResult, GateResult
from harness.metrics import Estimate
from harness.reports.leaderboard_site import badge, write_leaderboard
from harness.reports.trend_chart import trend
from harness.results import BackendResult, Summary
from harness.runs.run_log import RunLog
from tests.support.command import bench
from tests.support.synthetic_run import MAKERS, synthetic_run


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    """A later run of two backends on other rows."""
    makers = {name: MAKERS[name] for name in ("llama-ft", "gpt4")}
    return on_other_rows(synthetic_run(tmp_path_factory.mktemp("runs") / "later", 120, seed=1, makers=makers), "e")


@pytest.fixture(scope="module")
def site(log: RunLog, later: RunLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both runs."""
    return write_leaderboard([log, later], tmp_path_factory.mktemp("site")).paths[0].parent


def on_other_rows(log: RunLog, digit: str) -> RunLog:
    """The same run, as if its rows had another fingerprint."""
    log.update_manifest(msgspec.structs.replace(log.manifest, data={**log.manifest.data, "fingerprint": digit * 64}))
    return log


def relabelled(log: RunLog, folder: Path, task: str, created: str = "") -> RunLog:
    """The same run under another task's name, or at another time."""
    run = f"{task}-{created or '1'}"
    manifest = msgspec.structs.replace(log.manifest, task=task, id=run, created=created or log.manifest.created)
    copy = RunLog.create(folder, manifest, [])
    summary = log.summary()
    assert summary is not None
    copy.write_summary(msgspec.structs.replace(summary, task=task, run=run, created=manifest.created))
    return copy


def test_the_index_has_a_table_for_each_set_of_rows_the_newest_first(site: Path) -> None:
    index = (site / "index.html").read_text("utf-8")
    newest, other = index.split("<details>")
    assert len(re.findall(r'<th scope="row"', newest)) == 2 + 1  # two candidates, and the most frequent label
    assert len(re.findall(r'<th scope="row"', other)) == 4 + 1
    assert "120 rows of test, made-up sample (eeeeeeee)" in newest and "500 rows of test" in other
    assert "shut down 2025-09-01" in other and "for choose" in newest
    assert "2026-01-03 03:04:05\ncommit 0123456" in newest and "news-a1" in newest


def test_a_candidate_is_shown_by_its_best_run_and_moves_by_its_newest(later: RunLog, tmp_path: Path) -> None:
    summary = later.summary()
    assert summary is not None
    before = relabelled(later, tmp_path / "before", "agnews", "2026-01-01T00:00:00Z")
    worse = {name: fewer_right(result) for name, result in summary.backends.items()}
    before.write_summary(msgspec.structs.replace(summary, run=before.manifest.id, backends=worse))
    after = relabelled(later, tmp_path / "after", "agnews", "2026-01-09T00:00:00Z")
    after.write_summary(msgspec.structs.replace(summary, run=after.manifest.id, backends=worse))
    site = write_leaderboard([before, later, after], tmp_path / "site", redact=True)
    tuned = next(c for c in site.candidates if c.candidate == "llama-ft")
    assert (tuned.run, tuned.runs, tuned.commit) == (later.manifest.id, 3, "0123456789abcdef")
    assert tuned.value == summary.backends["llama-ft"].metrics["accuracy"].value
    assert tuned.change is not None and tuned.change.value == pytest.approx(-0.5)
    assert tuned.change.low is not None and tuned.change.high is not None
    assert tuned.change.low < -0.5 < tuned.change.high < 0
    history = (tmp_path / "site" / "trend.html").read_text("utf-8")
    assert history.count('href="runs/') == 4  # of two candidates the best and the newest run
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    for anchor in re.findall(r'href="trend.html#([^"]+)"', index):
        assert f'id="{anchor}"' in history


def test_the_gates_verdict_on_a_candidate_stands_beside_it(later: RunLog, tmp_path: Path) -> None:
    gated = relabelled(later, tmp_path / "run", "agnews")
    info = {
        name: ArmInfo(source="x", run="x", backend=name, model="m", decode="choose") for name in ("llama-ft", "gpt4")
    }
    checks = (
        CheckResult(name="c", backend="llama-ft", metric="accuracy", kind="paired", verdict="pass"),
        CheckResult(name="d", backend="llama-ft", metric="macro_f1", kind="paired", verdict="inconclusive"),
        CheckResult(name="e", backend="other", metric="accuracy", kind="paired", verdict="fail"),
    )
    result = GateResult(
        verdict="fail", exit_code=1, task="agnews", sides=((info["llama-ft"], info["gpt4"]),), checks=checks
    )
    write_json(gated.path / "gate.json", result)
    site = write_leaderboard([gated], tmp_path / "site", redact=True)
    assert [(c.candidate, c.gate) for c in site.candidates] == [("llama-ft", "inconclusive"), ("gpt4", None)]
    assert "inconclusive</text>" in (tmp_path / "site" / "badges" / "agnews-llama-ft.svg").read_text("utf-8")
    (gated.path / "gate.json").write_text('{"schema": 999}')
    assert write_leaderboard([gated], tmp_path / "site", redact=True).candidates[0].gate is None


def fewer_right(result: BackendResult) -> BackendResult:
    """The same result with half a point of accuracy less."""
    found = result.metrics["accuracy"]
    assert found.value is not None and found.low is not None and found.high is not None
    lower = Estimate(value=found.value - 0.5, low=found.low - 0.5, high=found.high - 0.5, n=found.n)
    return msgspec.structs.replace(result, metrics={**result.metrics, "accuracy": lower})


def test_an_earlier_page_is_kept_and_a_redacted_site_writes_it_anew(later: RunLog, tmp_path: Path) -> None:
    out, page = tmp_path / "site", "runs/old.html"
    (out / "runs").mkdir(parents=True)
    old = relabelled(later, tmp_path / "old", "agnews", "2026-01-01T00:00:00Z")
    old.update_manifest(msgspec.structs.replace(old.manifest, id="old"))
    (out / page).write_text("a row of the test set")
    write_leaderboard([old, later, relabelled(later, tmp_path / "new", "agnews", "2026-02-01T00:00:00Z")], out)
    assert (out / page).read_text() == "a row of the test set" and page in (out / "trend.html").read_text("utf-8")
    write_leaderboard([old, later], out, redact=True)
    assert "a row of the test set" not in (out / page).read_text("utf-8")


def test_all_runs_get_pages_when_asked_for(later: RunLog, tmp_path: Path) -> None:
    runs = [relabelled(later, tmp_path / str(k), "agnews", f"2026-01-0{k}T00:00:00Z") for k in (1, 2, 3)]
    few, every = (write_leaderboard(runs, tmp_path / p, redact=True, pages=p).paths for p in ("board", "all"))
    assert len(every) - len(few) == 2  # of equal figures the newest is the best


def test_badges_are_drawings_that_show_the_newest_figure(site: Path) -> None:
    names = sorted(path.name for path in (site / "badges").iterdir())
    assert names == ["agnews-gpt4.svg", "agnews-llama-ft.svg"]
    drawn = ET.fromstring((site / "badges" / names[1]).read_text("utf-8"))
    assert re.fullmatch(r"agnews · llama-ft: accuracy 9\d\.\d %", drawn.attrib["aria-label"])
    table = (site / "leaderboard.md").read_text("utf-8")
    assert "![llama-ft](badges/agnews-llama-ft.svg)" in table and "| candidate | accuracy % |" in table


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", 'a & b " c', "\u202eevil\x00", "ж" * 300])
def test_a_badge_of_any_text_is_whole_and_runs_nothing(text: str) -> None:
    drawn = ET.fromstring(badge(text, text, "bad"))
    assert not [node for node in drawn.iter() if node.tag.endswith("script")]
    assert len(drawn.attrib["aria-label"]) <= 2 * 60 + 2 and "\u202e" not in drawn.attrib["aria-label"]


def test_every_link_leads_to_a_page_that_is_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#]+)[#"]', page.read_text("utf-8")):
            assert (page.parent / target).is_file(), target


def test_two_runs_of_one_id_keep_a_page_each(later: RunLog, tmp_path: Path) -> None:
    written = write_leaderboard([later, later], tmp_path, redact=True, pages="all").paths
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
    made = msgspec.json.decode(out)
    assert "there is no finished run" in err and all(Path(p).is_file() for p in made["pages"])
    assert [(c["candidate"], c["rows"], c["gate"]) for c in made["candidates"]] == [
        ("llama-ft", 120, None),
        ("gpt4", 120, None),
    ]


def test_unfinished_and_unreadable_runs_are_left_out_with_a_remark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], later: RunLog
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    relabelled(later, tmp_path / "runs" / "whole", "agnews")
    newer = relabelled(later, tmp_path / "runs" / "newer", "agnews")
    (newer.path / "summary.json").write_text('{"schema": 999}')
    assert bench("leaderboard", "--out", str(tmp_path / "site"), "--redact") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{newer.path} is left out:" in said and "of schema 999" in said
