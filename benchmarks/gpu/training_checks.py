"""Training steps of the tiny Llama: the device against the CPU, shared prefixes and Liger's kernels on and off."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor
from transformers.utils.import_utils import is_liger_kernel_available

from benchmarks.gpu import training_speed
from benchmarks.gpu.results import Figures, Finding, Recorder
from benchmarks.gpu.workload import TASK, TINY, Setting, load_tokenizer, samples, shape_of
from harness.adapters import shared_prefix
from harness.adapters.lora_model import load_base, trainable_weights, with_adapter
from harness.adapters.recipe import Recipe
from harness.adapters.trainer import arguments, make_trainer
from harness.adapters.training_examples import collate, encode
from harness.backends.local.base_files import find_base
from harness.backends.local.weight_loading import resolve_placement
from harness.prompting.chat_rendering import Renderer

LOSS_TOLERANCE, CHANGE_TOLERANCE = 1e-5, 1e-3
"""Largest relative difference of a step's loss, and of all weights' change: the norm of the differences over the norm
of the changes. AdamW divides by a gradient's size, so that rounding of the smallest gradients moves their weights."""

ROWS, BATCH, STEPS = 64, 16, 3


class Trained(NamedTuple):
    """Loss of each step, the change of every trained weight, and whether micro-batches shared their prefix."""

    losses: list[float]
    change: Tensor
    shared: bool

    @property
    def moved(self) -> float:
        """Norm of the change."""
        return float(self.change.norm())


def train(
    device: str,
    *,
    steps: int = STEPS,
    objective: Any = "generate",
    kernels: Any = "none",
    quantization: Any = "none",
    shares: bool = True,
) -> Trained:
    """Train LoRA on the tiny Llama as `bench train` does, in float32, from the same weights and rows every time."""
    recipe = Recipe(
        objective=objective,
        kernels=kernels,
        quantization=quantization,
        dtype="float32",
        batch=BATCH,
        max_steps=steps,
        learning_rate=1e-3,
        evaluations=0,
        activation_checkpointing=False,
    )
    files, tokenizer = find_base(str(TINY)), load_tokenizer()
    placement = resolve_placement(device, recipe.dtype, "auto", quantization, None)
    examples, _ = encode(TASK, samples("train", ROWS), Renderer(tokenizer), recipe, 512)
    transformers.set_seed(recipe.seed)
    model = with_adapter(load_base(files, placement, recipe, TASK.labels), recipe)
    before = trained(model)
    with tempfile.TemporaryDirectory() as folder:
        args = arguments(recipe, Path(folder), steps, device, recipe.dtype, choose_by=None)
        args.set_save("no")
        trainer = make_trainer(model, tokenizer, args, examples, [], None, [])
        if args.device.type != device:
            raise RuntimeError(f"the training would run on {args.device} and not on {device}")
        if not shares:
            trainer.data_collator = collate
        losses = watch_losses(trainer)
        trainer.train()
    shared = trainer.data_collator is shared_prefix.collate_shared
    return Trained(losses, trained(model) - before, shared)


def trained(model: Any) -> Tensor:
    """All trained weights in one vector on the CPU."""
    return torch.cat([p.detach().flatten().cpu() for _, p in sorted(trainable_weights(model).items())])


def watch_losses(trainer: Any) -> list[float]:
    """The list that every step's loss is appended to."""
    losses: list[float] = []
    inner = trainer.training_step

    def step(*args: Any, **options: Any) -> Tensor:
        loss: Tensor = inner(*args, **options)
        losses.append(float(loss))
        return loss

    trainer.training_step = step
    return losses


def compare(wanted: Trained, found: Trained) -> Finding:
    """Losses and changes of two trainings that should be the same."""
    pairs = zip(wanted.losses, found.losses, strict=True)
    loss = max(abs(a - b) / abs(a) for a, b in pairs)
    change = float((wanted.change - found.change).norm() / wanted.change.norm())
    figures: Figures = {
        "steps": len(found.losses),
        "relative_loss_difference": loss,
        "relative_change_difference": change,
    }
    holds = loss <= LOSS_TOLERANCE and change <= CHANGE_TOLERANCE and wanted.moved > 0
    return Finding(figures, holds, f"loss within {LOSS_TOLERANCE:g}, change of weights within {CHANGE_TOLERANCE:g}")


def check_training(setting: Setting, record: Recorder) -> None:
    """Both objectives against the CPU, and shared prefixes against padded batches."""

    def against_cpu(objective: str) -> Finding:
        return compare(train("cpu", objective=objective), train(setting.device, objective=objective))

    def prefixes() -> Finding:
        padded, shared = train(setting.device, shares=False), train(setting.device)
        found = compare(padded, shared)
        taken = shared.shared and not padded.shared
        return found._replace(holds=found.holds and taken, note=found.note if taken else "no prefix was shared")

    record.measure("answers, three steps against the CPU", lambda: against_cpu("generate"), needs_s=15)
    record.measure("head, three steps against the CPU", lambda: against_cpu("head"), needs_s=10)
    record.measure("shared prefixes against padded batches", prefixes, needs_s=10)


def check_liger(setting: Setting, record: Recorder) -> None:
    """Liger's kernels on and off: losses and weights of the tiny Llama, then speed at the shape of Llama 3.2 1B.

    Off is always measured first: kernels that were applied once stay in transformers' modules.
    """
    if setting.device == "cpu" or not is_liger_kernel_available():
        record.skip("Liger's kernels", "they run on CUDA with liger-kernel installed.")
        return
    shape = shape_of("llama-3.2-1b", setting)
    without = training_speed.speed_of(setting, shape, kernels="none")
    off = train(setting.device)

    def fast() -> Finding:
        found = training_speed.speed_of(setting, shape, kernels="auto").figures
        ratio = float(found["rows_per_s"]) / float(without.figures["rows_per_s"])
        return Finding({**found, "times_as_fast_as_off": ratio})

    record.measure("off, Llama 3.2 1B", lambda: without)
    record.measure("on against off, float32", lambda: compare(off, train(setting.device, kernels="auto")))
    record.measure("on, Llama 3.2 1B", fast, needs_s=15)
