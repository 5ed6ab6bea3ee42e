"""The GPU check runs through on a CPU at small shapes, its comparisons hold, and what it counts as work is the work."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import runner
from benchmarks.gpu.limits import COPY, PEAK, decode_bytes, prefill_flop
from benchmarks.gpu.parts import BUDGET_S, PARTS
from benchmarks.gpu.results import JSON_FILE, TABLE_FILE, Finding, PartResult, Recorder, Report
from benchmarks.gpu.workload import SHAPES, SMALL, Setting, load_tokenizer, random_model

ROOT = Path(__file__).parents[2]

REQUIRED = {
    "answers": ("choose, float32", "generate, float32", "head, float32"),
    "training": (
        "answers, three steps against the CPU",
        "head, three steps against the CPU",
        "shared prefixes against padded batches",
    ),
}
"""Comparisons that are made wherever the local extra is installed."""


@pytest.fixture
def report() -> Report:
    part = PartResult(name="answers", about="", limit_s=60)
    return Report(created="2026-01-01T00:00:00Z", device="cpu", small=True, budget_s=BUDGET_S, parts=[part])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_dry_run_ends_well_and_its_comparisons_hold(tmp_path: Path) -> None:
    shape = "llama-3.1-8b"
    parts = ["limits", "answers", "training", "nf4", "liger", shape]
    words = ["--device", "cpu", "--small", "--only", ",".join(parts), "--budget", "3300", "--out", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "BENCH_HOME": str(tmp_path / "home")}
    run = [sys.executable, "-m", "benchmarks.gpu", *words]
    done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report = Report.read(tmp_path)
    assert [part.name for part in report.parts] == parts
    rows = {part.name: {row.what: row for row in part.rows} for part in report.parts}
    for part, names in REQUIRED.items():
        for name in names:
            assert rows[part][name].holds is True, rows[part][name]
    limits = report.part("limits")
    assert limits is not None and (limits.figure(COPY) or 0) > 0 and (limits.figure(PEAK) or 0) > 0
    speeds = [row for row in rows[shape].values() if row.what.startswith(("decode", "choose", "train LoRA"))]
    figures = [row.figures for row in speeds if row.status == "measured"]
    assert len(figures) >= 6
    assert all(float(row["tokens_per_s"]) > 0 and float(row["peak_gib"]) > 0 for row in figures)
    assert sum("share_of_limit" in row for row in figures) == 6, "two each of decode, prefill and training"
    skipped = [row for part in report.parts for row in part.rows if row.status == "skipped"]
    assert all(row.note.endswith("installed.") for row in skipped), skipped
    table = (tmp_path / TABLE_FILE).read_text()
    assert all(row.what in table for part in report.parts for row in part.rows)


def test_parts_that_the_budget_does_not_cover_are_skipped_with_a_sentence(report: Report, tmp_path: Path) -> None:
    report.parts = []
    runner.run_all(report, tmp_path, list(PARTS), begun=time.perf_counter() - BUDGET_S + 5)
    parts = Report.read(tmp_path).parts
    assert [part.name for part in parts] == list(PARTS)
    assert all(part.status == "skipped" and "s of the budget were left" in part.note for part in parts)


def test_a_part_is_stopped_at_its_limit_and_keeps_its_rows(report: Report, tmp_path: Path) -> None:
    Recorder(report, tmp_path, 60).measure("first", lambda: Finding({}, True))
    problem = runner.run_process("answers", tmp_path, 0.05)
    kept = Report.read(tmp_path).parts[0]
    runner.settle(kept, problem)
    assert (kept.status, kept.note) == ("stopped", "stopped at its limit of 60 s.")
    assert [row.what for row in kept.rows] == ["first"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "cpu"], "--device cpu needs --small"),
        (["--device", "cpu", "--small", "--only", "limits,answer"], "there is no part 'answer'"),
    ],
)
def test_a_wrong_command_line_is_refused(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_shares_of_the_time_add_up_to_the_budget() -> None:
    assert sum(part.limit_s for part in PARTS.values()) == BUDGET_S == 540


def test_an_error_is_a_failed_row_and_rows_before_and_after_it_are_kept(report: Report, tmp_path: Path) -> None:
    record = Recorder(report, tmp_path, 60)

    def fails() -> Finding:
        raise ValueError("no such kernel")

    def exhausts() -> Finding:
        raise torch.OutOfMemoryError("CUDA out of memory")

    record.measure("first", lambda: Finding({"rows": 3}, True))
    record.measure("second", fails)
    record.measure("third", exhausts)
    record.measure("fourth", lambda: Finding({}), needs_s=61)
    record.measure("fifth", lambda: Finding({"rate": 0.125}, False))
    rows = Report.read(tmp_path).parts[0].rows
    assert [row.status for row in rows] == ["measured", "failed", "skipped", "skipped", "measured"]
    assert rows[1].note == "ValueError: no such kernel."
    assert "memory" in rows[2].note and "needs 61" in rows[3].note
    assert "| answers | fifth | **no** | rate 0.125 |" in (tmp_path / TABLE_FILE).read_text()
    assert not report.passed


def test_a_report_passes_only_where_all_parts_ended_and_all_comparisons_hold(report: Report, tmp_path: Path) -> None:
    record = Recorder(report, tmp_path, 60)
    record.measure("equal", lambda: Finding({}, True))
    assert not report.passed, "the part is still running"
    report.parts[0].status = "done"
    assert report.passed
    record.measure("differs", lambda: Finding({}, False))
    assert not report.passed
    assert (tmp_path / JSON_FILE).is_file()


def test_true_shapes_have_the_published_numbers_of_weights() -> None:
    counted = {
        name: s.layers * (s.attention_weights + s.mlp_weights) + s.output_weights * (1 if s.tied else 2)
        for name, s in SHAPES.items()
    }
    assert {name: round(n / 1e9, 2) for name, n in counted.items()} == {
        "llama-3.2-1b": 1.24,
        "llama-3.2-3b": 3.21,
        "llama-3.1-8b": 8.03,
    }


def test_work_of_a_forward_pass_is_what_torch_counts() -> None:
    tokenizer = load_tokenizer()
    model: Any = random_model(SMALL, Setting("cpu", small=True), tokenizer)
    tokens, heads = 12, SMALL.heads
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=torch.arange(100, 100 + tokens)[None], use_cache=False)
    attention = SMALL.layers * heads * 2 * 2 * tokens * tokens * SMALL.hidden // heads
    rotary = 2 * tokens * SMALL.hidden // heads // 2
    every = prefill_flop(SMALL, tokens, tokens)
    assert counter.get_total_flops() == pytest.approx(every, rel=(attention + rotary) / every)
    assert counter.get_total_flops() >= every
    weights = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    assert decode_bytes(SMALL, rows=0, context=0, width=4) == 4 * weights
