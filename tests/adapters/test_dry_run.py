"""A dry run says what a training would take, and trains nothing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.adapters.dry_run import dry_run
from harness.adapters.train_options import TrainOptions
from harness.cli.train import train

QUICK = ("batch=8", "accumulate=1", "epochs=2", "validation_rows=16", "lora.r=2")


def test_rows_tokens_steps_and_targets_are_those_of_the_training(base: Path, rows: Path) -> None:
    record = dry_run(TrainOptions("agnews", str(base), "tiny-agnews", QUICK, str(rows))).record
    assert record["rows"] == {"training": 104, "validation": 16}
    assert record["steps"] == 26
    assert record["trained_weights"] < record["weights"]
    assert 0 <= record["padding_share"] < 0.1
    assert record["tokens"] / 8 < record["computed_tokens"] < record["tokens"], (
        "rows of a batch share their instruction"
    )
    assert record["memory_bytes"]["total"] == sum(v for k, v in record["memory_bytes"].items() if k != "total")
    for example in record["examples"]:
        assert example["read"].endswith("Topic:")
        assert example["learned"].endswith("<|end|>")


def test_the_published_shapes_need_what_arithmetic_says(base: Path, rows: Path) -> None:
    """r 2 on all linear layers of a tiny Llama: (in + out) x r weights a layer."""
    record = dry_run(TrainOptions("agnews", str(base), "tiny-agnews", QUICK, str(rows))).record
    attention, feed_forward = 4 * (32 + 32), 3 * (32 + 64)
    assert record["trained_weights"] == 2 * 2 * (attention + feed_forward)


def test_what_stays_out_of_four_bits_is_counted_in_float32(base: Path, rows: Path) -> None:
    """Embeddings and norms of 8 billion weights take more memory than its 4-bit layers."""
    quick = (*QUICK, "quantization=nf4")
    record = dry_run(TrainOptions("agnews", str(base), "tiny-agnews", quick, str(rows))).record
    layers, whole = 2 * (4 * 32 * 32 + 3 * 32 * 64), 400 * 32 + 5 * 32
    assert record["weights"] - record["trained_weights"] == layers + whole
    assert record["memory_bytes"]["base"] == round(layers * 0.53 + whole * 4)


def test_the_verb_prints_json_for_machines_and_writes_nothing(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    args = ["--task", "agnews", "--base", str(base), "--recipe", "tiny-agnews", "--data", str(rows), "--dry-run"]
    result = CliRunner().invoke(train, [*args, "--json", "--seed", "7"], catch_exceptions=False)
    assert json.loads(result.stdout)["recipe"]["seed"] == 7
    text = CliRunner().invoke(train, args, catch_exceptions=False).stdout
    assert "held back from them for validation" in text and "computed, since rows" in text
    assert not (tmp_path / "home").exists()


def test_the_text_of_a_dry_run_fits_a_screen(base: Path, rows: Path) -> None:
    plan = dry_run(TrainOptions("agnews", str(base), "tiny-agnews", ("batch=4", "lora.r=2"), str(rows)))
    lines = plan.text.splitlines()
    assert len(lines) <= 24
    assert lines[0].startswith("base ")
    assert "batch=4, " in plan.text
    assert "lora.r=2" in plan.text
    assert plan.text.count("--- learned: ") == 1
    assert len(plan.record["examples"]) == 3
