"""Types, kernels and recomputed activations are chosen by device and recipe; trained weights are float32 everywhere."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import get_peft_model_state_dict
from rich.console import Console
from safetensors.torch import load_file

from harness.adapters import trainer
from harness.adapters.lora_model import (
    load_base,
    precision_arguments,
    sharding_arguments,
    trainable_weights,
    with_adapter,
)
from harness.adapters.lora_training import prepare, train
from harness.adapters.memory_estimate import recomputes
from harness.adapters.recipe import Recipe
from harness.adapters.train_options import TrainOptions
from harness.adapters.trainer import kernel_arguments
from harness.backends.local.base_files import find_base
from harness.backends.local.weight_loading import load, resolve_placement
from harness.errors import UsageError
from harness.peft_folder import WEIGHTS
from harness.workspace import Workspace
from tests.local.asking import ask
from tests.support.tiny_llama import news_requests

QUICK = ("batch=8", "accumulate=1", "epochs=4", "validation_rows=16", "evaluations=1", "lora.r=2", "learning_rate=0.01")


def options(base: Path, rows: Path, *more: str) -> TrainOptions:
    return TrainOptions("agnews", str(base), "tiny-agnews", (*QUICK, *more), str(rows))


@pytest.mark.parametrize("objective", ["generate", "head"])
def test_on_a_base_in_bfloat16_every_trained_weight_moves_and_the_loss_falls(
    objective: str, base: Path, rows: Path, tmp_path: Path
) -> None:
    wanted = options(base, rows, "dtype=bfloat16", f"objective={objective}")
    job = prepare(wanted)
    transformers.set_seed(job.recipe.seed)
    model = with_adapter(load_base(job.files, job.placement, job.recipe, job.task.labels), job.recipe)
    assert {p.dtype for p in trainable_weights(model).values()} == {torch.float32}
    assert torch.bfloat16 in {p.dtype for p in model.parameters() if not p.requires_grad}
    before = {k: v.clone() for k, v in get_peft_model_state_dict(model, save_embedding_layers=False).items()}

    folder, _ = train(wanted, Workspace(tmp_path), Console(file=io.StringIO()))
    after = load_file(folder / WEIGHTS)
    assert before.keys() == after.keys()
    assert any("score" in key for key in after) == (objective == "head")
    for key, value in after.items():
        assert value.dtype == torch.float32
        moved = (value != before[key]).float().mean().item()
        assert moved == 1.0, f"{key}: only {moved:.1%} of the weights moved"
    losses = [h["loss"] for h in json.loads((folder / "history.json").read_text()) if "loss" in h]
    epoch = 104 // 8
    assert sum(losses[-epoch:]) < sum(losses[:epoch]), "the same rows, three epochs later"


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_cards_below_compute_capability_8_train_in_float16_with_a_scaled_loss(
    capability: tuple[int, int], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device=None: capability)
    placement = resolve_placement("auto", "auto", "auto", "none", None)
    assert (placement.device, placement.dtype) == ("cuda", dtype)
    chosen = precision_arguments(placement.dtype, placement.device)
    assert chosen == {"fp16": dtype == "float16", "bf16": dtype == "bfloat16"}


def test_a_cpu_trains_in_float32_unless_told_otherwise() -> None:
    chosen = precision_arguments(resolve_placement("cpu", "auto", "auto", "none", None).dtype, "cpu")
    assert chosen == {"fp16": False, "bf16": False}


def test_liger_kernels_are_taken_on_cuda_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "is_liger_kernel_available", lambda: True)
    chosen = kernel_arguments(Recipe(), "cuda:1")
    assert chosen["use_liger_kernel"] is True
    assert chosen["liger_kernel_config"]["fused_linear_cross_entropy"] is False, "the loss here is on answers only"
    assert kernel_arguments(Recipe(), "cpu") == {}
    assert kernel_arguments(Recipe(kernels="none"), "cuda") == {}
    monkeypatch.setattr(trainer, "is_liger_kernel_available", lambda: False)
    assert kernel_arguments(Recipe(), "cuda") == {}


def test_activations_are_recomputed_where_the_recipe_or_memory_asks_for_it() -> None:
    card = 16 << 30
    assert not recomputes(Recipe(), total=10 << 30, free=card)
    assert recomputes(Recipe(), total=15 << 30, free=card)
    assert recomputes(Recipe(activation_checkpointing=True), total=0, free=card)
    assert not recomputes(Recipe(activation_checkpointing=False), total=99 << 30, free=card)
    assert not recomputes(Recipe(), total=99 << 30, free=None), "nobody counts a CPU's memory"
    assert sharding_arguments(Recipe(activation_checkpointing=True)) == {"activation_checkpointing": True}
    sharded = sharding_arguments(Recipe(activation_checkpointing=True, sharding="fsdp2"))
    assert "activation_checkpointing" not in sharded and sharded["fsdp_config"]["activation_checkpointing"] is True


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dtype=float16", "float16 trains on a card only"),
        ("sharding=fsdp2", "needs several processes"),
    ],
)
def test_what_this_machine_cannot_train_is_told_before_it_starts(
    setting: str, said: str, base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    wanted = options(base, rows, setting)
    assert prepare(wanted).steps == 52, "a dry run may plan what another machine will do"
    with pytest.raises(UsageError, match=said):
        train(wanted, Workspace(tmp_path), Console(file=io.StringIO()))


def test_refusals_come_before_rows_are_read(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("harness.adapters.lora_training.prepare", lambda *_: pytest.fail("rows were read"))
    with pytest.raises(UsageError, match="needs bitsandbytes"):
        train(options(base, rows, "quantization=nf4"), Workspace(tmp_path), Console(file=io.StringIO()))


def test_an_adapter_that_does_not_fit_the_base_is_told_before_anything_is_loaded(base: Path, rows: Path) -> None:
    with pytest.raises(UsageError, match=r"\[lora\] does not fit the base"):
        prepare(options(base, rows, "lora.targets=no_such_layer"))


def test_4_bit_weights_train_on_a_cpu_are_resumed_and_asked_there(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = pytest.importorskip("bitsandbytes")
    said = io.StringIO()
    settings = ("quantization=nf4", "optimizer=paged_adamw_8bit", "max_steps=2", "validation_rows=4")
    wanted, workspace, console = options(base, rows, *settings), Workspace(tmp_path), Console(file=said, width=500)
    step = trainer.AnswerTrainer.training_step

    def interrupted(self: Any, *args: Any) -> Any:
        next(c for c in self.callback_handler.callbacks if isinstance(c, trainer.Interrupt)).asked = True
        return step(self, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.AnswerTrainer, "training_step", interrupted)
        train(wanted, workspace, console)
    _, manifest = train(wanted, workspace, console)
    assert manifest.steps == 2
    assert "4-bit weights are unpacked at every step" in said.getvalue()
    assert "continuing after checkpoint at step 1" in said.getvalue()
    net = load(find_base(str(base)), resolve_placement("cpu", "auto", "auto", "nf4", 1))
    layers = [m for m in net.model.modules() if isinstance(m, bits.nn.Linear4bit)]
    assert layers and all(m.weight.dtype == torch.uint8 and m.weight.quant_type == "nf4" for m in layers)
    half = layers[0].in_features * layers[0].out_features // 2
    assert layers[0].weight.numel() == half, "two weights in a byte"
    answers = ask(workspace, news_requests(2), model=str(base), adapter=manifest.id, decode="choose")
    assert all(a.error is None for a in answers.values())
