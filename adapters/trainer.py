"""The training loop: transformers' Trainer with our loss, row order, validation and progress display."""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.utils.import_utils import is_liger_kernel_available

from harness.adapters import distributed, shared_prefix
from harness.adapters.lora_dropout import pack_dropout
from harness.adapters.lora_linear import fuse_lora
from harness.adapters.lora_model import precision_arguments, sharding_arguments
from harness.adapters.recipe import Recipe
from harness.adapters.report_samples import answers_file
from harness.adapters.train_options import LossNotFiniteError
from harness.adapters.training_examples import IGNORED, Example, GroupedByLength, as_items, blank, collate
from harness.adapters.validation import Validation
from harness.files import write_json


class TrainingProgress(TrainerCallback):
    """Step, loss, tokens a second and time left on `console`; validation scores as lines of their own."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.loss: float | None = None
        self._begun = 0.0
        self._first = 0
        self._first_tokens = 0
        self._told = 0
        self._bar: Progress | None = None
        self._row: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._begun, self._first = time.perf_counter(), state.global_step
        self._first_tokens = state.num_input_tokens_seen
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[words]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._row = self._bar.add_task("", total=self.total, completed=state.global_step, words="")
            self._bar.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Remember the loss; print validation scores."""
        logs = logs or {}
        self.loss = logs.get("loss", self.loss)
        scores = {k.removeprefix("eval_"): v for k, v in logs.items() if k.startswith("eval_")}
        shown = {k: v for k, v in scores.items() if k not in NOT_SCORES}
        if shown:
            words = ", ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in shown.items())
            self.console.print(f"validation at step {state.global_step}: {words}", highlight=False)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar, or print a line for every tenth."""
        words = self._words(state)
        if self._bar is not None:
            self._bar.update(self._row, completed=state.global_step, words=words)
        elif state.global_step * 10 // self.total > self._told:
            self._told = state.global_step * 10 // self.total
            left = self._seconds() / max(1, state.global_step - self._first) * (self.total - state.global_step)
            self.console.print(
                f"training: step {state.global_step}/{self.total}, {words}, {left:.0f} s left", highlight=False
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the finished bar visible."""
        self.close()

    def close(self) -> None:
        """End the live display; safe to call twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._begun, 1e-6)

    def _words(self, state: Any) -> str:
        speed = (state.num_input_tokens_seen - self._first_tokens) / self._seconds()
        return f"loss {self.loss:.3f}, {speed:,.0f} tokens/s" if self.loss is not None else f"{speed:,.0f} tokens/s"


NOT_SCORES = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
"""What the training loop logs beside the validation scores."""


def kernel_arguments(recipe: Recipe, device: str) -> dict[str, Any]:
    """TrainingArguments that turn Liger's kernels on: on CUDA, where liger-kernel is installed, unless forbidden.

    Its fused losses stay off: the loss here is on answers only, and a classification head has another forward.
    """
    if recipe.kernels == "none" or not device.startswith("cuda") or not is_liger_kernel_available():
        return {}
    return {
        "use_liger_kernel": True,
        "liger_kernel_config": {"fused_linear_cross_entropy": False, "cross_entropy": False},
    }


SAVE_EVERY_S = 600
"""A kill costs at most so many seconds of work, however rarely validation rows are asked."""


class AnswerTrainer(transformers.Trainer):
    """Trains on answer tokens only (or on classes), and validates with the harness's own scorer."""

    loss_is_scaled_for_ga = True  # by the number of targets of the whole step

    def __init__(self, *, tokenizer: Any, lengths: list[int], validation: Validation | None, **rest: Any) -> None:
        self.tokenizer = tokenizer  # not transformers' `processing_class`, which rewrites the model's special tokens
        self.lengths = lengths
        self.validation = validation
        super().__init__(**rest)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        together = self.args.train_batch_size * self.args.world_size
        fill = together if self.args.world_size > 1 else 1
        step = together * self.args.gradient_accumulation_steps
        self.rows = GroupedByLength(self.lengths, step, self.args.seed, fill)
        return self.rows

    @property
    def epochs_done(self) -> int:
        """Whole epochs so far."""
        return int(self.state.global_step // math.ceil(len(self.lengths) / self.rows.batch))

    @property
    def tokens_learned(self) -> int:
        """Tokens read so far; the one token of each filling row is none."""
        return int(self.state.num_input_tokens_seen) - self.rows.fill * self.epochs_done

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy in float32, summed over targets and divided by the targets of the whole step.

        Only the columns that predict an answer go through the output layer.
        """
        labels: Tensor = inputs.pop("labels")
        if shared_prefix.LAYOUT in inputs:
            outputs = shared_prefix.forward(model, inputs)
        else:
            columns = {"logits_to_keep": labels.shape[1]} if labels.dim() == 2 else {}
            outputs = model(**inputs, **columns)
        logits = outputs.logits.float()
        summed = torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        if num_items_in_batch is None:
            loss = summed / (labels != IGNORED).sum()
        else:
            loss = summed / num_items_in_batch * self.accelerator.num_processes  # devices are averaged afterwards
        return (loss, outputs) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        count = sum((batch["labels"] != IGNORED).sum() for batch in batch_samples)
        return self.accelerator.gather(torch.as_tensor(count).to(device)).sum()  # type: ignore[no-any-return]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One step; raises LossNotFiniteError before the weights are touched."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        whole = self.accelerator.reduce(loss, "mean")  # not a number anywhere: every process stops
        if not torch.isfinite(whole):
            raise LossNotFiniteError(f"the loss became {whole.item()} at step {self.state.global_step + 1}")
        return loss

    def _save_rng_state(self, output_dir: str) -> None:
        """The generator of every process is on disk before process 0 commits the checkpoint."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def evaluation_loop(self, *args: Any, **options: Any) -> Any:
        """The loss on validation rows, and what the task says of the model's answers to them."""
        output: Any = super().evaluation_loop(*args, **options)
        if self.validation is not None:
            model = self.accelerator.unwrap_model(self.model)
            measured = self.validation.measure(model, self.tokenizer)
            output.metrics.update({f"eval_{name}": value for name, value in measured.items()})
            if self.is_world_process_zero():
                write_json(answers_file(Path(str(self.args.output_dir)), self.state.global_step), self.validation.shown)
        return output


class RowOrder(transformers.TrainerCallback):
    """Tells the row order its epoch: after a resume accelerate does not reach it behind several processes' wrappers."""

    def __init__(self, trainer: AnswerTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The epoch in which the next step lies."""
        self.trainer.rows.set_epoch(self.trainer.epochs_done)


class Clock(transformers.TrainerCallback, ExportableState):
    """Seconds trained, over all sessions of a training; saves when the last checkpoint is old.

    Its word is the last of a step, and that of all processes: after a resume transformers puts a callback that has a
    state behind all others, so nothing that comes before it may decide for all.
    """

    def __init__(self) -> None:
        self.before_s = 0.0
        self._begun = self._saved = time.perf_counter()

    @property
    def total_s(self) -> float:
        """Seconds so far, earlier sessions up to their last checkpoint included."""
        return self.before_s + time.perf_counter() - self._begun

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"before_s": self.total_s}}

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A checkpoint was written."""
        self._saved = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save by time; ask validation rows once more at the very end; take over what another process wants."""
        if time.perf_counter() - self._saved > SAVE_EVERY_S:
            control.should_save = True
        if state.global_step >= state.max_steps:
            control.should_save = True
            control.should_evaluate = args.eval_strategy != "no"
        wanted = control.should_save, control.should_training_stop
        control.should_save, control.should_training_stop = distributed.agreed(*wanted)


class Interrupt(transformers.TrainerCallback):
    """Ctrl-C (and SIGTERM, a scheduler's Ctrl-C) ends the training after the current step, with a checkpoint."""

    def __init__(self) -> None:
        self.asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop if the user asked for it."""
        if self.asked:
            control.should_save = control.should_training_stop = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the first Ctrl-C of this block; a second one ends it at once."""
        try:
            before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever owns that one decides
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, *_: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def steps_of(rows: int, recipe: Recipe) -> int:
    """Optimiser steps of a training: whole batches of every epoch, the last short one included."""
    batches = math.ceil(rows / recipe.batch)
    total = math.ceil(math.ceil(batches / recipe.accumulate) * recipe.epochs)
    return min(total, recipe.max_steps) if recipe.max_steps > 0 else total


def arguments(
    recipe: Recipe, folder: Path, steps: int, device: str, dtype: str, *, choose_by: Any, track: str | None = None
) -> Any:
    """TrainingArguments of a recipe. choose_by: the metric whose best checkpoint is kept, or None; track: a tracker.

    recipe: of one process, where several train together (`ranks.share`).
    """
    pause = max(1, math.ceil(steps / max(1, recipe.evaluations)))
    chosen: dict[str, Any] = {}
    if choose_by is not None:
        chosen = {
            "eval_strategy": "steps",
            "eval_steps": pause,
            "load_best_model_at_end": True,
            "metric_for_best_model": choose_by.name,
            "greater_is_better": choose_by.direction == "higher",
        }
    made = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulate,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup if recipe.warmup < 1 else int(recipe.warmup),
        optim=recipe.optimizer,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        **sharding_arguments(recipe),
        **kernel_arguments(recipe, device),
        **precision_arguments(dtype, device),
        use_cpu=device == "cpu",
        seed=recipe.seed,
        logging_steps=max(1, steps // 50),
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=pause,
        save_total_limit=2,
        include_num_input_tokens_seen="non_padding",
        restore_callback_states_from_checkpoint=True,
        prediction_loss_only=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device != "cpu",
        disable_tqdm=True,
        report_to=track or "none",
        run_name=folder.name.removeprefix("."),
        ddp_find_unused_parameters=False,  # every trained weight is used in every pass
        **chosen,
    )
    made._n_gpu = min(1, made.n_gpu)  # one process, one GPU: more GPUs want more processes
    return made


def make_trainer(
    model: Any,
    tokenizer: Any,
    args: Any,
    train: list[Example],
    held: list[Example],
    validation: Validation | None,
    callbacks: list[Any],
) -> AnswerTrainer:
    """A trainer over tokenised rows, quiet but for our callbacks."""
    pack_dropout(model)
    fuse_lora(model)
    filler = [blank(train[0])] if args.world_size > 1 else []
    trainer = AnswerTrainer(
        model=model,
        args=args,
        train_dataset=as_items([*train, *filler]),
        eval_dataset=as_items(held) or None,
        data_collator=collate,
        tokenizer=tokenizer,
        lengths=[e.tokens for e in train],
        validation=validation,
        callbacks=callbacks,
    )
    if train[0].answer and shared_prefix.enable(trainer.model):
        trainer.data_collator = shared_prefix.collate_shared
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(RowOrder(trainer))
    return trainer
