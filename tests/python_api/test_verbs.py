"""The verbs as functions: what they return, write and raise, also where an event loop is running."""

import asyncio
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import (
    GateResult,
    IncompleteRunError,
    NotComparableError,
    ParityResult,
    Run,
    RunComparison,
    Settings,
    UsageError,
    compare,
    gate,
    load_run,
    parity,
    report,
    resume,
    run,
    train,
)
from tests.python_api.recorded import ROWS, WRONG_EVERY, recorded_settings
from tests.support.openai_server import OpenAIServer

FAKE = "tests.support.fakes:FakeBackend"
PARITY = "tests.support.fakes:Parity"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run of two recordings, and the folder of its workspace."""
    folder = tmp_path_factory.mktemp("finished")
    made = run(
        "agnews", "right, worse", data=folder / "rows.jsonl", config=recorded_settings(folder), workspace=folder / "ws"
    )
    return made, folder / "ws"


def test_run_asks_every_backend_and_returns_the_finished_run(finished: tuple[Run, Path]) -> None:
    made, workspace = finished
    assert made.complete
    assert made.backends == ("right", "worse")
    assert made.path.parent == workspace / "runs"
    assert made.summary.backends["worse"].metrics["accuracy"].value == 1 - 1 / WRONG_EVERY


def test_load_run_takes_what_the_command_line_takes(finished: tuple[Run, Path]) -> None:
    made, workspace = finished
    for word in ("last", made.id, made.short_id, made.path, str(made.path)):
        assert load_run(word, workspace=workspace).id == made.id
    assert load_run(made) is made
    with pytest.raises(UsageError, match="no run 'none'"):
        load_run("none", workspace=workspace)


def test_gate_returns_the_verdict_and_writes_it_beside_the_run(finished: tuple[Run, Path], tmp_path: Path) -> None:
    made, workspace = finished
    options = {"candidate": "worse", "reference": "right", "config": Settings(backends={}), "workspace": workspace}
    result = gate(made, margin={"accuracy": 0.02}, **options)  # type: ignore[arg-type]
    assert isinstance(result, GateResult)
    assert (result.verdict, result.passed) == ("fail", False)
    assert json.loads((made.path / "gate.json").read_text())["verdict"] == "fail"
    assert "<td>fail</td>" in result._repr_html_()
    wide = gate(made.short_id, margin={"accuracy": 0.9}, out=tmp_path / "gate.json", **options)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "gate.json").read_text())["verdict"] == wide.verdict == "pass"
    with pytest.raises(NotComparableError, match="nothing to compare with"):
        gate(made, config=Settings(backends={}), workspace=workspace)


def test_compare_pairs_two_runs_row_by_row(finished: tuple[Run, Path], tmp_path: Path) -> None:
    made, workspace = finished
    found = compare(made, "last", candidate="worse", reference="right", workspace=workspace, out=tmp_path / "page.html")
    assert isinstance(found, RunComparison)
    accuracy = next(pair for pair in found.pairs if pair.metric == "accuracy")
    assert (accuracy.rows, accuracy.only_a, accuracy.only_b) == (ROWS, 0, ROWS // WRONG_EVERY)
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    html = found._repr_html_()
    assert "<table>" in html and "<td>accuracy</td>" in html and "common rows" in html


def test_parity_judges_a_copy_and_writes_its_page_also_within_a_running_event_loop(tmp_path: Path) -> None:
    recorded = recorded_settings(tmp_path).backends
    settings = Settings(backends={**recorded, "copy": recorded["right"]})

    async def cell(served: str, **options: Any) -> ParityResult:
        return parity(
            *("right", served), task="agnews", data=tmp_path / "rows.jsonl", rows=ROWS, latency_probe=0,
            config=settings, workspace=tmp_path / "ws", **options,
        )  # fmt: skip

    found = asyncio.run(cell("worse", out=tmp_path / "page.html"))
    assert (found.verdict, found.exit_code, found.margin) == ("not alike", 1, 0.01)
    assert found.different == ROWS // WRONG_EVERY
    folder = Path(found.served.run)
    assert folder.parent == tmp_path / "ws" / "parity"
    assert json.loads((folder / "parity.json").read_text())["verdict"] == "not alike"
    assert "Not alike: other weights answer" in (tmp_path / "page.html").read_text("utf-8")
    assert repr(found).splitlines()[0] == f"Parity agnews: worse against right, {ROWS} rows"
    assert found.headline in repr(found) and "equal answers 80.0 [" in repr(found)
    html = found._repr_html_()
    assert "<td>accuracy</td><td>100.0</td><td>80.0</td><td>-20.0 [" in html
    assert "<td>fault: other weights</td>" in html
    few = asyncio.run(cell("copy", on_inconclusive="block"))
    assert (few.verdict, few.exit_code) == ("not shown yet", 5)
    wide = asyncio.run(cell("copy", run=few.served.run, margin=30))
    assert (wide.verdict, wide.served.run) == ("alike", few.served.run), "its answers are judged again"
    assert (Path(few.served.run) / "parity.html").is_file()
    with pytest.raises(UsageError, match="compared with itself"):
        asyncio.run(cell("right"))


def test_report_writes_what_the_suffix_says(finished: tuple[Run, Path], tmp_path: Path) -> None:
    made, workspace = finished
    assert report("last", workspace=workspace) == made.path / "report.html"
    assert report(made, redact=True) == made.path / "report-redacted.html"
    table = report(made, tmp_path / "figures.csv")
    assert table.read_text("utf-8").startswith("run,task,backend")
    with pytest.raises(UsageError, match="xls"):
        report(made, tmp_path / "figures.xls")


def test_train_returns_the_adapter_with_its_scores(tmp_path: Path) -> None:
    adapter = train(
        "agnews", recipe="tfidf", data="embedded", limit=120, overrides={"tfidf.min_df": 1}, workspace=tmp_path
    )
    assert adapter.path.parent == tmp_path / "adapters"
    assert adapter.manifest.recipe["tfidf"]["min_df"] == 1
    assert adapter.id in repr(adapter)
    assert set(adapter.metrics) >= {"validation_accuracy"}
    assert (adapter.path / "report.html").is_file()
    assert f"Adapter {adapter.id}" in adapter._repr_html_() and "validation" in adapter._repr_html_()


def test_train_with_several_seeds_says_what_it_chose_from(tmp_path: Path) -> None:
    adapter = train(
        "agnews", recipe="tfidf", data="embedded", limit=120, sweep={"tfidf.min_df": [1, 2]}, workspace=tmp_path
    )
    assert adapter.group is not None
    assert adapter.group.tried == 2
    assert adapter.group.chosen == adapter.id


def test_resume_finishes_a_run_and_asks_nothing_twice(tmp_path: Path) -> None:
    tables = {"a": {"kind": FAKE, "stop_after": 8}}
    stopped = run(PARITY, ["a"], config=Settings(backends=tables), workspace=tmp_path)
    assert not stopped.complete
    manifest = stopped.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"stop_after": 8', '"stop_after": 0'))
    again = resume("last", config=Settings(backends=tables), workspace=tmp_path)
    assert again.complete
    assert len(again.lines("a")) == 60


def test_remarks_go_to_the_log_where_no_progress_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = {"a": {"kind": FAKE, "stop_after": 8}}
    with caplog.at_level(logging.WARNING, logger="harness"):
        run(PARITY, ["a"], config=Settings(backends=tables), workspace=tmp_path, progress=False)
    assert [r.message for r in caplog.records if r.name == "harness"] == [
        "a stopped: the key was refused: set FAKE_KEY."
    ]


def test_progress_is_shown_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(PARITY, ["a"], config=Settings(backends={"a": {"kind": FAKE}}), workspace=tmp_path, progress=True)
    assert "a: 60/60 (100%)" in capsys.readouterr().err


def test_backends_are_named_as_a_list_or_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names 'a' twice"):
        run(PARITY, ["a", "a"], workspace=tmp_path)
    with pytest.raises(UsageError, match="empty"):
        run(PARITY, [], workspace=tmp_path)


def test_what_a_verb_raises_carries_the_exit_code_of_its_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run("agnwes", ["right"], workspace=tmp_path)
    assert "agnews" in str(caught.value)
    assert int(caught.value.exit_code) == 2


def test_a_run_within_a_running_event_loop(tmp_path: Path) -> None:
    settings = recorded_settings(tmp_path)

    async def cell() -> Run:
        made = run("agnews", ["right"], data=tmp_path / "rows.jsonl", config=settings, workspace=tmp_path)
        await asyncio.sleep(0)  # the loop is still usable
        return made

    assert asyncio.run(cell()).complete


def test_no_module_but_the_command_line_starts_a_loop_of_its_own() -> None:
    # asyncio.run() fails where a loop is running, as in a notebook; run_coroutine() does not.
    root = Path(__file__).parents[2]
    own = [path for folder in ("harness", "adapters", "reports", "tasks") for path in (root / folder).rglob("*.py")]
    starting = {path.name for path in own if "asyncio.run(" in path.read_text("utf-8") and path.parent.name != "cli"}
    assert starting <= {"event_loop.py"}


def test_an_api_backend_with_its_cache_within_a_running_event_loop(tmp_path: Path, server: OpenAIServer) -> None:
    rows = recorded_settings(tmp_path)
    table = {"kind": "openai", "model": "m", "base_url": server.url, "price": {"input": 1.0, "output": 1.0}}
    settings = Settings(backends={"api": table, **rows.backends})

    async def cell(out: str) -> Run:
        return run(
            "agnews",
            ["api"],
            data=tmp_path / "rows.jsonl",
            config=settings,
            workspace=tmp_path / "ws",
            out=tmp_path / out,
        )

    first, second = asyncio.run(cell("first")), asyncio.run(cell("second"))
    assert first.summary.backends["api"].load.cached == 0
    assert second.summary.backends["api"].load.cached == ROWS


def test_an_error_within_a_running_event_loop_is_the_same_error(tmp_path: Path) -> None:
    async def cell() -> Run:
        tables = {"a": {"kind": FAKE, "refuse": True}}
        return run(PARITY, ["a"], config=Settings(backends=tables), workspace=tmp_path)

    with pytest.raises(UsageError, match="plug it in"):
        asyncio.run(cell())


INTERRUPTED = """
import asyncio, os, signal, sys, threading, time
from pathlib import Path
from harness import InterruptedRunError, Settings, run

folder = Path(sys.argv[1])
tables = {"a": {"kind": "tests.support.fakes:FakeBackend", "delay_s": 0.05, "window": 1}}

def interrupt():
    while not list(folder.glob("run/a.jsonl")) or not (folder / "run" / "a.jsonl").stat().st_size:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

async def cell():
    # As the kernel of a notebook: SIGINT is KeyboardInterrupt in the main thread, which runs a loop.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        run("tests.support.fakes:Parity", ["a"], config=Settings(backends=tables), workspace=folder, out=folder / "run")
    except InterruptedRunError as error:
        print(error)

asyncio.run(cell())
"""


def test_an_interrupt_within_a_running_event_loop_keeps_what_was_answered(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    assert "what was answered is kept" in done.stdout
    assert "stopping: waiting for the answers in flight" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "a.jsonl").read_text().splitlines()]
    assert 0 < len(lines) < 60
    assert all(line["error"] is None for line in lines)


def test_a_run_that_has_not_ended_has_no_summary(finished: tuple[Run, Path], tmp_path: Path) -> None:
    made, _ = finished
    shutil.copytree(made.path, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    unfinished = load_run(tmp_path / "run")
    assert not unfinished.complete
    assert "not ended" in repr(unfinished)
    with pytest.raises(IncompleteRunError, match="--resume"):
        unfinished.summary  # noqa: B018
