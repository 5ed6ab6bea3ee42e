"""A tracker logs a training, on this machine only; without its package that is one sentence."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.adapters.dispatch import objective_of
from harness.adapters.lora_training import TRACKERS, check_tracker, tracked, train
from harness.adapters.train_options import TrainOptions
from harness.errors import UsageError
from harness.workspace import Workspace
from tests.adapters.test_training import options, quiet


@pytest.mark.parametrize("recipe", ["tfidf", "gpt-3.5-turbo-persona"])
def test_what_has_no_steps_here_cannot_be_tracked(recipe: str) -> None:
    with pytest.raises(UsageError, match="leave it out"):
        objective_of(TrainOptions("agnews", recipe=recipe, track="tensorboard"))


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_told_with_the_command_that_brings_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=f"--track {name} needs the package {name}: python -m pip install {name}"):
        check_tracker(name)


def test_trackers_write_into_the_workspace_and_stay_offline_unless_a_person_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    with tracked("wandb", Workspace(tmp_path), "run"):
        assert os.environ["WANDB_MODE"] == "offline" and os.environ["WANDB_PROJECT"] == "mine"
        assert os.environ["WANDB_DIR"] == str(tmp_path / "tracking" / "wandb")
    assert "WANDB_MODE" not in os.environ and os.environ["WANDB_PROJECT"] == "mine"


def test_tensorboard_gets_the_curves_and_no_secret(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (pip install tensorboard)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    secrets = {"OPENAI_API_KEY": "sk-secret-one", "HF_TOKEN": "hf_secret_two", "WANDB_API_KEY": "secret-three"}
    for key, value in secrets.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    wanted = replace(options(base, rows, "max_steps=4", "evaluations=2"), track="tensorboard")
    train(wanted, Workspace(tmp_path), quiet())
    (folder,) = (tmp_path / "tracking" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert {"train/loss", "train/learning_rate", "eval/accuracy"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("eval/accuracy")] == [2, 4]
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not [value for value in secrets.values() if value.encode() in written]
