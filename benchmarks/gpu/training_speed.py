"""Speed of LoRA training at a shape: Bench with and without shared prefixes, and TRL on the same rows."""

import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import transformers
from transformers.utils.import_utils import is_liger_kernel_available

from benchmarks.gpu.limits import PEAK, limit, peak_gib, share, synchronize, training_flop
from benchmarks.gpu.results import Figures, Finding, Recorder
from benchmarks.gpu.workload import (
    TASK,
    Setting,
    Shape,
    free_memory,
    load_tokenizer,
    random_model,
    samples,
)
from harness.adapters.lora_model import trainable_weights, with_adapter
from harness.adapters.recipe import Recipe
from harness.adapters.trainer import arguments, make_trainer
from harness.adapters.training_examples import IGNORED, collate, encode
from harness.prompting.chat_rendering import Renderer
from harness.task_loading import build_request

WARM = 3
"""Steps before the clock begins: kernels are compiled and memory is taken."""


class StepClock(transformers.TrainerCallback):
    """Seconds and rows of the steps after the first few, on a synchronised device."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.begun = self.ended = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start after the warm-up and stop at the last step."""
        if state.global_step == WARM:
            synchronize(self.device)
            self.begun = time.perf_counter()
        if state.global_step == state.max_steps:
            synchronize(self.device)
            self.ended = time.perf_counter()


def plan(setting: Setting) -> tuple[int, int]:
    """Rows of a batch, and timed steps."""
    return setting.count(64, 4), setting.count(12, 2)


def settings(batch: int, steps: int) -> dict[str, Any]:
    """The settings that both trainers get."""
    return {"batch": batch, "max_steps": WARM + steps, "learning_rate": 1e-4}


def speed_of(
    setting: Setting, shape: Shape, *, kernels: Any = "auto", shares: bool = True, record: Recorder | None = None
) -> Finding:
    """Bench's own training of a random model: rows and real tokens a second, share of the matrix rate, peak memory."""
    free_memory()
    batch, steps = plan(setting)
    recipe = Recipe(
        **settings(batch, steps), kernels=kernels, dtype=setting.dtype, activation_checkpointing=False, evaluations=0
    )
    tokenizer = load_tokenizer()
    rows = samples("train", batch * (WARM + steps))
    examples, _ = encode(TASK, rows, Renderer(tokenizer), recipe, 4096)
    model = random_model(shape, setting, tokenizer)
    model.config.use_cache = False
    model = with_adapter(model, recipe)
    clock = StepClock(setting.device)
    with tempfile.TemporaryDirectory() as folder:
        args = arguments(recipe, Path(folder), WARM + steps, setting.device, setting.dtype, choose_by=None)
        args.set_save("no")
        trainer = make_trainer(model, tokenizer, args, examples, [], None, [clock])
        if not shares:
            trainer.data_collator = collate
        batches: list[tuple[int, int]] = []
        count_tokens(trainer, batches)
        trainer.train()
    timed = batches[WARM : WARM + steps]
    return figures_of(setting, shape, clock, batch * steps, timed, model, record)


def count_tokens(trainer: Any, batches: list[tuple[int, int]]) -> None:
    """Append (real tokens computed, predicted tokens) of every micro-batch."""
    inner = trainer.data_collator

    def counted(examples: Any) -> Any:
        batch = inner(examples)
        shared = "shared_prefix_layout" in batch
        tokens = batch["input_ids"].numel() if shared else int(batch["attention_mask"].sum())
        batches.append((tokens, int((batch["labels"] != IGNORED).sum())))
        return batch

    trainer.data_collator = counted


def figures_of(
    setting: Setting,
    shape: Shape,
    clock: StepClock,
    rows: int,
    batches: list[tuple[int, int]],
    model: Any,
    record: Recorder | None,
) -> Finding:
    """Figures of the timed steps; the share of the peak where a record knows it."""
    took = clock.ended - clock.begun
    tokens, targets = (sum(counts) for counts in zip(*batches, strict=True))
    lora = sum(p.numel() for p in trainable_weights(model).values())
    figures: Figures = {"rows_per_s": rows / took, "tokens_per_s": tokens / took, "step_s": took / len(batches)}
    if record is not None:
        figures |= share(training_flop(shape, tokens, targets, lora) / took, limit(record, PEAK))
    return Finding({**figures, **peak_gib(setting), "batch": rows // len(batches)})


def measure_training(setting: Setting, shape: Shape, record: Recorder) -> None:
    """Shared prefixes on and off, then TRL."""
    on = record.measure("train LoRA", lambda: speed_of(setting, shape, record=record), needs_s=12)

    def beside(found: Finding) -> Finding:
        ours = float(on.figures.get("rows_per_s", 0.0))
        return found._replace(
            figures={**found.figures, "bench_times_as_fast": ours / float(found.figures["rows_per_s"])}
        )

    record.measure(
        "train LoRA, prefixes not shared",
        lambda: beside(speed_of(setting, shape, shares=False, record=record)),
        needs_s=12,
    )
    if find_spec("trl") is None:
        record.skip("train LoRA, TRL", "trl is not installed.")
        return
    record.measure("train LoRA, TRL (rows grouped by length)", lambda: beside(trl_speed(setting, shape)), needs_s=15)


def trl_speed(setting: Setting, shape: Shape) -> Finding:
    """TRL's SFTTrainer on the same rows, weights, LoRA and batch, loss on answers; Liger's kernels where installed."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    free_memory()
    batch, steps = plan(setting)
    tokenizer = load_tokenizer()
    rows = [
        {"prompt": build_request(TASK, s).messages[0].content, "completion": f" {TASK.target(s)}"}
        for s in samples("train", batch * (WARM + steps))
    ]
    lora = Recipe().lora
    clock = StepClock(setting.device)
    with tempfile.TemporaryDirectory() as folder:
        args = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=batch,
            max_steps=WARM + steps,
            learning_rate=1e-4,
            train_sampling_strategy="group_by_length",
            gradient_checkpointing=False,
            use_liger_kernel=setting.device != "cpu" and is_liger_kernel_available(),
            bf16=setting.dtype == "bfloat16",
            use_cpu=setting.device == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = SFTTrainer(
            model=random_model(shape, setting, tokenizer),
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=lora.r, lora_alpha=lora.alpha, target_modules=lora.targets),
            callbacks=[clock],
        )
        trainer.train()
    took = clock.ended - clock.begun
    return Finding({"rows_per_s": batch * steps / took, "step_s": took / steps, **peak_gib(setting), "batch": batch})
