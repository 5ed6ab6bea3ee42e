"""A run directory, an adapter, a baseline and a `bench.toml` of release 0.1, as they were written then.

`release_0_1` was made from 50 training and 30 test rows of the embedded sample by `bench train --recipe tfidf`,
`bench run` and `bench baseline accept`. Nothing in it is ever written again.
"""

import json
import shutil
from pathlib import Path

import pytest

from harness.errors import ExitCode
from tests.support.command import bench

STORED = Path(__file__).parent / "release_0_1"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in, as the current folder."""
    pytest.importorskip("sklearn")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    shutil.copytree(STORED, work)
    monkeypatch.chdir(work)
    return work


def test_a_run_is_reported_and_its_figures_are_those_of_then(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench("report", "run", "--out", "figures.json") == ExitCode.DONE
    then = json.loads((there / "run" / "summary.json").read_text("utf-8"))
    now = json.loads((there / "figures.json").read_text("utf-8"))
    for name in ("tfidf", "recorded"):
        figures = [summary["backends"][name]["metrics"]["accuracy"]["value"] for summary in (then, now)]
        assert figures[0] == figures[1]
    assert bench("report", "run", "--out", "page.html") == ExitCode.DONE
    assert "recorded" in (there / "page.html").read_text("utf-8")


def test_a_run_is_compared_and_gated_against_its_baseline(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench("compare", "run", "run", "--candidate", "tfidf", "--reference", "recorded") == ExitCode.DONE
    assert bench("gate", "run", "--baseline", "main.json", "--json") == ExitCode.DONE
    out = capfd.readouterr().out
    assert json.loads(out[out.index("{") :])["verdict"] == "unchanged"


def test_a_run_that_was_cut_short_is_finished(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = there / "run" / "recorded.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:12]))
    (there / "run" / "summary.json").unlink()
    assert bench("run", "--resume", "run") == ExitCode.DONE
    assert len(log.read_bytes().splitlines()) == len(lines)


def test_an_adapter_answers_as_it_did(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench("adapter", "check", "adapter") == ExitCode.DONE
    asked = bench(
        "run", "--task", "agnews", "--data", "rows", "--backends", "tfidf,recorded", "--no-cache", "--out", "again"
    )
    assert asked == ExitCode.DONE
    assert bench("gate", "again", "--baseline", "main.json") == ExitCode.DONE

    def answers(run: str) -> dict[str, str]:
        rows = (json.loads(line) for line in (there / run / "tfidf.jsonl").read_text("utf-8").splitlines())
        return {row["id"]: row["text"] for row in rows}

    assert answers("again") == answers("run")
