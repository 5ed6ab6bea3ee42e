"""A training ends in a whole adapter with its manifest, continues after an interruption, and stops at a NaN."""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from harness.adapter_manifest import find_current, learned_rows, read_manifest, weights_digest
from harness.adapters import distributed, trainer
from harness.adapters.lora_training import prepare, train
from harness.adapters.saving import committed
from harness.adapters.train_options import LossNotFiniteError, TrainOptions
from harness.errors import UsageError
from harness.peft_folder import WEIGHTS
from harness.workspace import Workspace

QUICK = ("batch=8", "accumulate=1", "epochs=2", "validation_rows=16", "evaluations=2", "lora.r=2", "lora.dropout=0.1")


def options(base: Path, rows: Path, *more: str, out: Path | None = None) -> TrainOptions:
    return TrainOptions("agnews", str(base), "tiny-agnews", (*QUICK, *more), str(rows), out=out)


def quiet() -> Console:
    return Console(file=io.StringIO())


def same_weights(one: Path, two: Path) -> bool:
    a, b = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_finished_training_is_current_and_accounts_for_everything(base: Path, rows: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    folder, manifest = train(options(base, rows), workspace, quiet())
    assert find_current(workspace, "agnews", str(base)) == folder
    assert read_manifest(folder) == manifest
    assert manifest.steps == 26  # 104 rows in batches of 8, twice
    assert (manifest.data["rows"], manifest.selection["rows"]) == (104, 16)
    assert manifest.selection["from"] == "train"
    assert manifest.recipe["lora"]["r"] == 2
    assert manifest.tokens > 104 * 2 * 20
    assert manifest.duration_s > 0 and manifest.device_hours == pytest.approx(manifest.duration_s / 3600, rel=1e-3)
    assert {"validation_accuracy", "validation_loss", "training_loss"} <= manifest.metrics.keys()
    assert manifest.adapter_sha256 == weights_digest(folder)
    assert "transformers" in manifest.versions and manifest.base_sha256
    learned = learned_rows(folder)
    assert learned is not None and len(learned) == 120
    assert not list(workspace.adapters.glob(".*")), "nothing half-made is left behind"
    assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".pkl")]


def test_the_same_command_gives_the_same_weights(base: Path, rows: Path, tmp_path: Path) -> None:
    one, _ = train(options(base, rows), Workspace(tmp_path / "a"), quiet())
    two, _ = train(options(base, rows), Workspace(tmp_path / "b"), quiet())
    other, _ = train(options(base, rows, "seed=1"), Workspace(tmp_path / "c"), quiet())
    assert same_weights(one, two)
    assert not same_weights(one, other)


@pytest.mark.parametrize("objective", ["generate", "head"])
@pytest.mark.parametrize("padding", ["the end token", "none"])
def test_the_padding_token_of_a_base_plays_no_part(
    base: Path, rows: Path, tmp_path: Path, objective: str, padding: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(base, other)
    settings = json.loads((other / "tokenizer_config.json").read_text())
    config = json.loads((other / "config.json").read_text())
    if padding == "none":
        settings.pop("pad_token")
        config["pad_token_id"] = None
    else:
        settings["pad_token"] = settings["eos_token"]
        config["pad_token_id"] = config["eos_token_id"]
    (other / "tokenizer_config.json").write_text(json.dumps(settings))
    (other / "config.json").write_text(json.dumps(config))
    chosen = (f"objective={objective}", "max_steps=4")
    own, _ = train(options(base, rows, *chosen), Workspace(tmp_path / "a"), quiet())
    its, manifest = train(options(other, rows, *chosen), Workspace(tmp_path / "b"), quiet())
    assert same_weights(own, its)
    assert manifest.metrics["validation_accuracy"] >= 0


def test_a_training_that_no_longer_improves_ends_early(base: Path, rows: Path, tmp_path: Path) -> None:
    idle = options(base, rows, "learning_rate=1e-12", "evaluations=13", "patience=2")
    folder, manifest = train(idle, Workspace(tmp_path / "home"), quiet())
    assert manifest.steps == 6  # asked every two steps: the first is the best, the next two are no better
    assert manifest.selection["step"] == 2
    assert (folder / WEIGHTS).is_file()


def test_where_no_validation_row_has_a_value_the_last_step_is_kept(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.adapters.validation.row_value", lambda metric, score: None)
    _, manifest = train(options(base, rows, "max_steps=4"), Workspace(tmp_path), quiet())
    assert (manifest.steps, manifest.selection["step"]) == (4, 4)
    assert manifest.metrics.keys() == {"training_loss"}


def test_rows_left_out_of_the_training_still_choose_the_checkpoint_and_are_counted(
    base: Path, rows: Path, tmp_path: Path
) -> None:
    median = sorted(e.tokens for e in prepare(options(base, rows)).held)[8]
    short = options(base, rows, "max_steps=2", "too_long=drop", f"max_length={median}")
    assert len(prepare(short).held) < 16
    _, manifest = train(short, Workspace(tmp_path), quiet())
    assert manifest.selection["rows"] == 16


def test_another_tokenizer_or_template_is_another_training(base: Path, rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(base, other)
    settings = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": "{{ messages[0].content }}"}))
    assert prepare(options(base, rows)).key() != prepare(options(other, rows)).key()


def test_an_interrupted_training_continues_to_the_same_weights(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, undisturbed = train(options(base, rows), Workspace(tmp_path / "whole"), quiet())
    workspace = Workspace(tmp_path / "cut")
    step = trainer.AnswerTrainer.training_step

    def interrupted_in_step_17(self: Any, *args: Any) -> Any:
        if self.state.global_step == 16:
            next(c for c in self.callback_handler.callbacks if isinstance(c, trainer.Interrupt)).asked = True
        return step(self, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.AnswerTrainer, "training_step", interrupted_in_step_17)
        train(options(base, rows), workspace, quiet())
    work = next(workspace.adapters.glob(".training-*"))
    assert committed(work)[-1].name == "checkpoint-17"
    torn = work / "checkpoint-21"  # as a kill in the middle of saving leaves it
    shutil.copytree(work / "checkpoint-17", torn)
    (torn / "trainer_state.json").write_text('{"global_step": 21, "log_hist')

    said = Console(file=io.StringIO())
    folder, manifest = train(options(base, rows), workspace, said)
    assert "continuing after checkpoint at step 17" in said.file.getvalue()  # type: ignore[attr-defined]
    assert same_weights(whole, folder)
    assert (manifest.steps, manifest.tokens) == (undisturbed.steps, undisturbed.tokens)
    assert manifest.metrics == undisturbed.metrics


def test_after_a_resume_too_a_checkpoint_is_agreed_on_by_all_processes(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = options(base, rows, "max_steps=4")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.Interrupt, "listening", interrupted_at_once)
        train(short, Workspace(tmp_path), quiet())
    wishes: list[bool] = []
    saved: list[int] = []

    def agreed(*flags: bool) -> list[bool]:
        wishes.append(flags[0])
        return list(flags)

    monkeypatch.setattr(distributed, "agreed", agreed)
    monkeypatch.setattr(
        trainer.Clock, "on_save", lambda self, args, state, control, **_: saved.append(state.global_step)
    )
    monkeypatch.setattr(trainer, "SAVE_EVERY_S", 0)  # this process's own clock strikes at every step
    train(short, Workspace(tmp_path), quiet())
    assert saved == [2, 3, 4]
    assert wishes.count(True) == len(saved), "one process alone would wait for the others forever"


@contextlib.contextmanager
def interrupted_at_once(self: trainer.Interrupt) -> Iterator[None]:
    """A Ctrl-C before the first step ends."""
    self.asked = True
    yield


def test_accumulated_small_batches_learn_what_one_large_batch_learns(base: Path, rows: Path, tmp_path: Path) -> None:
    plain = ("lora.dropout=0.0", "max_steps=4")
    one, _ = train(options(base, rows, *plain), Workspace(tmp_path / "a"), quiet())
    two, _ = train(options(base, rows, *plain, "batch=2", "accumulate=4"), Workspace(tmp_path / "b"), quiet())
    a, b = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    for key in a:
        assert torch.allclose(a[key], b[key], atol=2e-4), key


def test_a_head_is_trained_and_saved_in_float32(base: Path, rows: Path, tmp_path: Path) -> None:
    folder, manifest = train(options(base, rows, "objective=head"), Workspace(tmp_path), quiet())
    weights = load_file(folder / WEIGHTS)
    head = next(v for k, v in weights.items() if k.endswith("score.weight"))
    assert head.shape == (4, 32) and head.dtype == torch.float32
    assert (manifest.objective, manifest.decode, manifest.labels[0]) == ("head", "head", "World")
    assert "validation_format_error_rate" not in manifest.metrics


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = trainer.AnswerTrainer.compute_loss

    def broken_at_step_20(self: Any, model: Any, inputs: Any, *args: Any, **rest: Any) -> Any:
        value = loss(self, model, inputs, *args, **rest)
        return value * float("nan") if model.training and self.state.global_step == 19 else value

    monkeypatch.setattr(trainer.AnswerTrainer, "compute_loss", broken_at_step_20)
    with pytest.raises(LossNotFiniteError) as caught:
        train(options(base, rows), Workspace(tmp_path), quiet())
    assert "the loss became nan at step 20" in str(caught.value)
    kept = committed(next(Workspace(tmp_path).adapters.glob(".training-*")))[-1]
    assert kept.name == "checkpoint-13" and str(kept) in str(caught.value)
    assert all(torch.isfinite(v).all() for v in load_file(kept / WEIGHTS).values())
    assert not list(Workspace(tmp_path).adapters.glob("*/manifest.json"))


@pytest.mark.parametrize("word", ["NaN", "Infinity"])
def test_a_gradient_that_was_no_number_does_not_make_a_checkpoint_worthless(tmp_path: Path, word: str) -> None:
    checkpoint = tmp_path / "checkpoint-4"  # float16 with a scaled loss skips such steps, and continues
    checkpoint.mkdir()
    state = f'{{"global_step": 4, "log_history": [{{"step": 1, "grad_norm": {word}}}]}}'
    (checkpoint / "trainer_state.json").write_text(state)
    assert committed(tmp_path) == [checkpoint]


def test_a_folder_that_holds_another_adapter_is_refused_before_anything_is_read(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="holds another adapter"):
        prepare(options(base, tmp_path / "no rows", out=out))


def test_out_takes_the_adapter_and_leaves_the_current_one(base: Path, rows: Path, tmp_path: Path) -> None:
    folder, _ = train(options(base, rows, "max_steps=2", out=tmp_path / "mine"), Workspace(tmp_path), quiet())
    assert folder == tmp_path / "mine" and (folder / WEIGHTS).is_file()
    with pytest.raises(UsageError, match="no adapter"):
        find_current(Workspace(tmp_path), "agnews", str(base))


def test_in_a_pipe_progress_is_plain_lines(base: Path, rows: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    train(options(base, rows), Workspace(tmp_path), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "training: step 26/26, loss" in said and "tokens/s" in said
    assert "validation at step 26:" in said and "accuracy" in said
    assert "\x1b" not in said and "\r" not in said


def test_the_history_is_kept_beside_the_adapter(base: Path, rows: Path, tmp_path: Path) -> None:
    folder, _ = train(options(base, rows), Workspace(tmp_path), quiet())
    history = json.loads((folder / "history.json").read_text())
    assert [h["step"] for h in history if "eval_accuracy" in h] == [13, 26]
    assert all("learning_rate" in h for h in history if "loss" in h)


@pytest.mark.parametrize(
    ("task", "base_name", "recipe", "said"),
    [
        ("agnew", None, None, "did you mean 'agnews'"),
        ("agnews", "no/such/folder", "tiny-agnews", "there is no such folder"),
        ("agnews", "nobody/no-such-model", "tiny-agnews", "base model nobody/no-such-model"),
    ],
)
def test_wrong_names_are_told_in_one_sentence(
    task: str, base_name: str | None, recipe: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError) as caught:
        prepare(TrainOptions(task, base_name, recipe, data="embedded"))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optimizer=adamw_torc", "adamw_torc is not a valid OptimizerNames"),
        ("optimizer=galore_adamw", "galore"),
        ("schedule=cosin", "cosin is not a valid SchedulerType"),
        ("schedule=warmup_stable_decay", "num_decay_steps"),
    ],
)
def test_what_transformers_does_not_take_is_a_sentence(
    base: Path, rows: Path, tmp_path: Path, setting: str, said: str
) -> None:
    with pytest.raises(UsageError, match="recipe tiny-agnews cannot be followed here") as caught:
        train(options(base, rows, setting), Workspace(tmp_path), quiet())
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_four_bit_training_without_bitsandbytes_is_told_before_it_starts(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    wanted = options(base, rows, "quantization=nf4")
    assert prepare(wanted).steps == 26  # a dry run may plan what another machine will do
    with pytest.raises(UsageError, match="needs bitsandbytes"):
        train(wanted, Workspace(tmp_path), quiet())
