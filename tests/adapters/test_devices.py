"""Two gloo processes on a CPU train what one process trains, survive each other's death, and shard a base (FSDP2)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.adapter_manifest import read_manifest
from harness.peft_folder import WEIGHTS
from tests.support.processes import PATIENCE_S, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = (
    "batch=8", "accumulate=2", "epochs=2", "validation_rows=16", "evaluations=2", "lora.r=2", "lora.dropout=0.0",
    "learning_rate=0.001",
)  # fmt: skip
LAUNCH = ("--launch", "accelerate", "--num-processes", "2")
SAME_WEIGHT = 2e-5
"""Adam divides by the gradient's size: where that is near zero, another order of float32 sums moves a weight by a share
of the learning rate (1e-3) in a step. A hundredth of all it may move is allowed after 14 steps."""


class Trainings:
    """Starts trainings of the same rows, each in a workspace of its own name."""

    def __init__(self, base: Path, rows: Path, folder: Path) -> None:
        self.base, self.rows, self.folder = base, rows, folder
        self.started: list[subprocess.Popen[str]] = []

    def start(self, home: str, *words: str, by: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        """A training in the background."""
        command = ["train", "--task", "agnews", "--base", str(self.base), "--recipe", "tiny-agnews"]
        command += ["--data", str(self.rows)]
        for setting in SETTINGS:
            command += ["--set", setting]
        process = subprocess.Popen(
            [sys.executable, *(by or ("-m", "harness")), *command, *words],
            env={**os.environ, "BENCH_HOME": str(self.folder / home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, home: str, *words: str, by: tuple[str, ...] = ()) -> Path:
        """A training to its end; returns the adapter's folder."""
        process = self.start(home, *words, by=by)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert "Traceback" not in err and "Warning" not in err
        assert out.count("adapter ") == 1, "only one process says what was trained"
        return self.adapter(home)

    def adapter(self, home: str) -> Path:
        """The folder of the one adapter of a workspace."""
        (found,) = (p.parent for p in (self.folder / home / "adapters").glob("*/manifest.json"))
        return found

    def checkpoints(self, home: str) -> list[str]:
        """Names of committed checkpoints."""
        states = (self.folder / home / "adapters").glob(".training-*/checkpoint-*/trainer_state.json")
        return sorted(p.parent.name for p in states)


@pytest.fixture
def trainings(base: Path, rows: Path, tmp_path: Path) -> Iterator[Trainings]:
    all_of_them = Trainings(base, rows, tmp_path)
    yield all_of_them
    for process in all_of_them.started:
        if process.poll() is None:
            process.terminate()  # a launcher ends its processes
            process.communicate(timeout=PATIENCE_S)


def losses(adapter: Path) -> dict[int, float]:
    return {h["step"]: h["loss"] for h in json.loads((adapter / "history.json").read_text()) if "loss" in h}


def assert_same_training(one: Path, two: Path) -> None:
    a, b = losses(one), losses(two)
    assert a.keys() == b.keys() and len(a) == 14
    assert b == pytest.approx(a, rel=1e-5)
    first, second = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    assert first.keys() == second.keys()
    for key in first:
        assert torch.allclose(first[key], second[key], rtol=0, atol=SAME_WEIGHT), key
    assert read_manifest(one).tokens == read_manifest(two).tokens
    assert read_manifest(one).metrics == pytest.approx(read_manifest(two).metrics, rel=1e-4)


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "harness")


def test_two_processes_train_what_one_trains(trainings: Trainings) -> None:
    alone = trainings.run("alone")
    together = trainings.run("together", *LAUNCH)
    assert_same_training(alone, together)
    assert read_manifest(together).device_hours == pytest.approx(read_manifest(together).duration_s / 1800, rel=1e-3)
    assert_same_training(alone, trainings.run("torchrun", by=TORCHRUN))


def test_two_processes_train_the_head_that_one_trains(trainings: Trainings) -> None:
    head = ("--set", "objective=head")
    assert_same_training(trainings.run("alone", *head), trainings.run("together", *head, *LAUNCH))


def test_a_sharded_base_trains_the_adapter_of_a_whole_one(trainings: Trainings) -> None:
    for objective in ("generate", "head"):
        words = ("--set", f"objective={objective}")
        alone = trainings.run(f"alone-{objective}", *words)
        sharded = trainings.run(f"sharded-{objective}", *words, *LAUNCH, "--set", "sharding=fsdp2")
        assert_same_training(alone, sharded)
        assert (alone / "adapter_config.json").is_file() and (sharded / "adapter_config.json").is_file()


def processes_of(home: Path) -> list[int]:
    """Pids of training processes (those with a number) whose workspace is `home`, by their number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            facts = dict(line.split("=", 1) for line in path.read_text().split("\0") if "=" in line)
        except OSError:
            continue
        if facts.get("BENCH_HOME") == str(home) and "RANK" in facts:
            found[int(facts["RANK"])] = int(path.parent.name)
    return [found[rank] for rank in sorted(found)]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_is_killed_the_other_ends_and_the_same_command_continues(
    trainings: Trainings, victim: int
) -> None:
    longer = ("--set", "epochs=30", "--set", "evaluations=30")
    process = trainings.start("cut", *longer, *LAUNCH)
    wait_until(lambda: trainings.checkpoints("cut"), process)
    pids = processes_of(trainings.folder / "cut")
    assert len(pids) == 2
    os.kill(pids[victim], signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)  # the bound: nobody waits for the dead
    assert process.returncode == 3 and not out
    assert f"process {victim} of 2 was killed (SIGKILL)" in err and "the same command continues" in err
    assert "Traceback" not in err
    assert not processes_of(trainings.folder / "cut")
    # the same command with one process: a checkpoint belongs to no number of processes
    process = trainings.start("cut", *longer)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "continuing after checkpoint at step" in err
    alone = trainings.run("alone", *longer)
    one, two = load_file(alone / WEIGHTS), load_file(trainings.adapter("cut") / WEIGHTS)
    assert all(torch.allclose(one[k], two[k], rtol=0, atol=1e-3) for k in one)


@pytest.mark.parametrize("sharding", ["none", "fsdp2"])
def test_two_processes_continue_after_ctrl_c(trainings: Trainings, sharding: str) -> None:
    sharded = ("--set", f"sharding={sharding}", *LAUNCH)
    process = trainings.start("cut", *sharded)
    wait_until(lambda: trainings.checkpoints("cut"), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    if process.returncode == 0:
        pytest.skip("the training was faster than the signal")
    assert process.returncode == 130 and "Traceback" not in err
    assert "the same command continues" in err
    process = trainings.start("cut", *sharded)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0 and "continuing after checkpoint" in err
    assert_same_training(trainings.run("alone"), trainings.adapter("cut"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_processes_do_not_outlive_their_launcher(trainings: Trainings) -> None:
    process = trainings.start("orphans", "--set", "epochs=200", *LAUNCH)
    wait_until(lambda: trainings.checkpoints("orphans"), process)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    wait_until(lambda: not processes_of(trainings.folder / "orphans"))
