"""A training killed with -9, twice, at seeded moments ends with the weights of an undisturbed one."""

import os
import random
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.peft_folder import WEIGHTS
from tests.support.processes import BENCH, PATIENCE_S, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = (
    "batch=4",
    "accumulate=1",
    "epochs=4",
    "validation_rows=16",
    "evaluations=13",
    "lora.r=2",
    "lora.dropout=0.1",
)


def start(base: Path, rows: Path, home: Path) -> "subprocess.Popen[str]":
    command = ["train", "--task", "agnews", "--base", str(base), "--recipe", "tiny-agnews", "--data", str(rows)]
    for setting in SETTINGS:
        command += ["--set", setting]
    return subprocess.Popen(
        [*BENCH, *command],
        env={**os.environ, "BENCH_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def adapter(home: Path) -> Path:
    return next((home / "adapters").glob("agnews-*/manifest.json")).parent


def last_checkpoint(home: Path) -> int:
    found = (home / "adapters").glob(".training-*/checkpoint-*")
    return max((int(p.name.partition("-")[2]) for p in found), default=0)


def reached(home: Path, step: int) -> bool:
    return last_checkpoint(home) >= step


def test_kill_9_loses_no_weight(base: Path, rows: Path, tmp_path: Path) -> None:
    whole = start(base, rows, tmp_path / "whole")
    said, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, said
    rng = random.Random(20)
    home = tmp_path / "killed"
    for after in (2, 6):
        process = start(base, rows, home)
        wait_until(partial(reached, home, after * 8), process)
        time.sleep(rng.random() * 0.2)  # sometimes in the middle of a checkpoint
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    assert not list((home / "adapters").glob("agnews-*")), "killed before it ended"
    last = start(base, rows, home)
    said, _ = last.communicate(timeout=300)
    assert last.returncode == 0, said
    assert "continuing after checkpoint at step" in said
    one, two = load_file(adapter(tmp_path / "whole") / WEIGHTS), load_file(adapter(home) / WEIGHTS)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
