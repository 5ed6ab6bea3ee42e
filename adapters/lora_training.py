"""Training an adapter: a task's training rows and a recipe become one that `bench run` can name."""

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
import transformers
from rich.console import Console

from harness import hardware
from harness.adapter_manifest import AdapterManifest, weights_digest
from harness.adapters import distributed
from harness.adapters.lora_model import check_device, load_base, slow_on, trained_weights, with_adapter
from harness.adapters.memory_estimate import Sizes, free_bytes, needed, recomputes, sizes
from harness.adapters.recipe import Recipe, load_recipe
from harness.adapters.report_samples import SHOWN, answers_file, target_of, write_examples, write_lengths
from harness.adapters.saving import (
    AdapterDestination,
    committed,
    data_facts,
    lock_training_folder,
    plain,
    selection_facts,
    write_rows,
)
from harness.adapters.train_options import LossNotFiniteError, TrainOptions
from harness.adapters.trainer import (
    AnswerTrainer,
    Clock,
    Interrupt,
    TrainingProgress,
    arguments,
    make_trainer,
    steps_of,
)
from harness.adapters.training_examples import Example, encode
from harness.adapters.training_rows import Rows, choose_rows
from harness.adapters.validation import Validation
from harness.backends.local.architecture import best_attention, context_of, read_config, stored_dtype
from harness.backends.local.base_files import BaseFiles, find_base
from harness.backends.local.weight_loading import Placement, first_line, load_tokenizer, resolve_placement
from harness.data.sampling import fingerprint
from harness.errors import BenchError, UsageError
from harness.files import write_json
from harness.hashing import digest
from harness.metrics import Metric
from harness.prompting.chat_rendering import Renderer
from harness.prompting.prompt_variants import prompt_of
from harness.task import Task
from harness.training_record import StepAnswers, constant_facts
from harness.workspace import Workspace

TRACKERS = ("mlflow", "wandb", "trackio", "tensorboard")


def check_tracker(name: str | None) -> None:
    """Refuse a tracker whose package is missing, before anything is read. Raises UsageError."""
    if name is not None and importlib.util.find_spec(name) is None:
        raise UsageError(f"--track {name} needs the package {name}: python -m pip install {name}.")


@contextlib.contextmanager
def tracked(name: str | None, workspace: Workspace, run: str) -> Iterator[None]:
    """Say where the tracker writes, for this block only; variables that are set in the environment are kept."""
    defaults = {} if name is None else _places(name, workspace, run)
    added = {key: value for key, value in defaults.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


def _places(name: str, workspace: Workspace, run: str) -> dict[str, str]:
    """The tracker's environment variables: a folder of the workspace, nothing over the network."""
    folder = (workspace.root / "tracking" / name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if name == "tensorboard":
        return {"TENSORBOARD_LOGGING_DIR": str(folder / run)}
    if name == "mlflow":
        # uploads nothing but figures and settings: checkpoints stay where they are
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "MLFLOW_EXPERIMENT_NAME": "bench"}
    if name == "wandb":
        return {"WANDB_MODE": "offline", "WANDB_DIR": str(folder), "WANDB_PROJECT": "bench"}
    return {"TRACKIO_DIR": str(folder)}


SMALL_BYTES = 64 << 20
"""Threads spend their time waiting for each other on models smaller than this: one does it faster."""


class PreparedTraining(NamedTuple):
    """A training that can begin: everything is read, checked and tokenised, nothing is loaded."""

    options: TrainOptions
    task: Task
    recipe_name: str
    recipe: Recipe
    files: BaseFiles
    placement: Placement
    tokenizer: Any
    renderer: Renderer
    rows: Rows
    train: list[Example]
    held: list[Example]
    remarks: list[str]

    @property
    def steps(self) -> int:
        """Optimiser steps on this machine."""
        return steps_of(len(self.train), self.recipe)

    def memory(self, size: Sizes, recipe: Recipe | None = None) -> dict[str, int]:
        """Bytes by purpose in one process; recipe: that process's (default: the whole one, trained alone)."""
        answer = max((len(e.answer) for e in self.train), default=0)
        longest = max(e.tokens for e in self.train)
        recipe = recipe or self.recipe
        asked = bool(recipe.activation_checkpointing)
        return needed(size, recipe, self.placement, longest, answer, recompute=asked)

    def share(self) -> Recipe:
        """This process's recipe: its part of a step, and whether it recomputes activations."""
        share = distributed.share(self.recipe)
        free = free_bytes(self.placement.device)
        total = 0
        if free is not None and share.activation_checkpointing is None:
            total = self.memory(sizes(self.files, share, len(self.task.labels)), share)["total"]
        return msgspec.structs.replace(share, activation_checkpointing=recomputes(share, total, free))

    def key(self) -> str:
        """The same for the same training: where an interrupted one is found again."""
        base = [self.files.sha256(), self.files.config_sha256()]
        seen = [self.task.name, self.task.version, *base, self.recipe, self.rows.fingerprint()]
        return digest([*seen, fingerprint(self.rows.validation), hardware.versions(), prompt_of(self.task)])[:12]


def prepare(options: TrainOptions, rows: Rows | None = None) -> PreparedTraining:
    """Resolve the recipe, find the base, read and tokenise the rows. Raises UsageError for all that is wrong.

    rows: the rows of this recipe, where they were chosen already.
    """
    task = options.load_task()
    name = options.recipe or task.recipe
    recipe = load_recipe(name, options.overrides)
    base = options.base or recipe.base
    if base is None:
        raise UsageError(f"recipe {name} names no base model: use --base MODEL.")
    if recipe.objective == "head" and not task.labels:
        raise UsageError(f"recipe {name} trains a classification head, but task '{task.name}' has no label set.")
    options.check_out()
    files = find_base(base)
    small = sum(path.stat().st_size for path in files.weights) < SMALL_BYTES
    attention, stored = best_attention(files), stored_dtype(files)
    placement = resolve_placement(distributed.device(), recipe.dtype, attention, "none", 1 if small else None, stored)
    distributed.share(recipe)  # refused here where processes cannot share a step equally
    sizes(files, recipe, len(task.labels))  # and here where the adapter does not fit the base
    tokenizer = load_tokenizer(files)
    renderer = Renderer(tokenizer, recipe.template)
    rows = rows or choose_rows(task, options.data, recipe, options.limit)
    context = _context(files)
    train, remarks = encode(task, rows.train, renderer, recipe, context)
    held, _ = encode(task, rows.validation, renderer, recipe, context)
    if not train:
        raise UsageError("no training row fits the base's context: raise max_length, or choose --set too_long=cut.")
    remarks = [*rows.remarks, *remarks, *renderer.remarks, *slow_on(recipe, placement.device)]
    return PreparedTraining(
        options, task, name, recipe, files, placement, tokenizer, renderer, rows, train, held, remarks
    )


def _context(files: BaseFiles) -> int:
    return context_of(read_config(files))


def train(
    options: TrainOptions, workspace: Workspace, console: Console, rows: Rows | None = None
) -> tuple[Path, AdapterManifest]:
    """Train an adapter, showing progress on `console`; returns its folder and manifest.

    An interrupted training of the same rows, recipe and base is continued from its last checkpoint. The
    finished adapter appears whole or not at all. Raises UsageError, or LossNotFiniteError naming the step and
    the checkpoint kept; KeyboardInterrupt after Ctrl-C, with a checkpoint.
    """
    check_tracker(options.track)
    _fit_to_start(load_recipe(options.recipe or options.load_task().recipe, options.overrides))
    job = prepare(options, rows)
    first = distributed.rank() == 0
    if not first:
        console = Console(quiet=True)
    for remark in job.remarks if options.tells_remarks else ():
        console.print(f"bench: {remark}", markup=False, highlight=False)
    work = workspace.adapters / f".training-{job.key()}"
    with lock_training_folder(work) if first else contextlib.nullcontext(), distributed.together():
        with tracked(options.track, workspace, work.name.removeprefix(".")):
            trainer, clock = _run(job, work, console)
        state = trained_weights(trainer.model)  # from all processes
        kept = _keep(job, trainer, state, clock.total_s, workspace) if first else None
        if first:
            shutil.rmtree(work)
        kept = distributed.told(kept)
    assert kept is not None
    return kept


def _fit_to_start(recipe: Recipe) -> None:
    """What a dry run need not have: raises UsageError where this machine or launch cannot do what the recipe asks."""
    placement = resolve_placement(
        distributed.device(), recipe.dtype, "auto", recipe.quantization, None
    )  # 4 bits need bitsandbytes
    check_device(recipe, placement)
    if recipe.sharding == "fsdp2" and distributed.world() == 1:
        raise UsageError(
            'sharding = "fsdp2" needs several processes: bench train .. --launch accelerate --num-processes N, '
            "or --set sharding=none."
        )
    if recipe.sharding == "fsdp2" and recipe.quantization == "nf4":
        raise UsageError("4-bit weights cannot be sharded: use --set sharding=none, or --set quantization=none.")


def _run(job: PreparedTraining, work: Path, console: Console) -> tuple[AnswerTrainer, Clock]:
    """The training itself, from the last whole checkpoint where there is one."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if job.placement.threads:
        torch.set_num_threads(job.placement.threads)
    share = job.share()
    validation = Validation(job.task, job.rows.validation, share) if job.held else None
    metric = validation.metric if validation is not None and validation.metric.kind == "mean" else None
    args = _arguments(job, share, work, metric)
    transformers.set_seed(job.recipe.seed)  # before the head and the adapter are drawn
    base = load_base(job.files, job.placement, share, job.task.labels)
    model = with_adapter(base, share)
    progress, interrupt = TrainingProgress(console, job.steps), Interrupt()
    callbacks: list[Any] = [progress, interrupt]
    if metric is not None and job.recipe.patience:
        callbacks.append(transformers.EarlyStoppingCallback(job.recipe.patience))
    callbacks.append(Clock())
    trainer = make_trainer(model, job.tokenizer, args, job.train, job.held, validation, callbacks)
    last = distributed.told(next(reversed(committed(work)), None) if distributed.rank() == 0 else None)
    if last is not None:
        console.print(f"bench: continuing after {last.name.replace('-', ' at step ')}", highlight=False)
    distributed.own_randomness(job.recipe.seed)
    try:
        with interrupt.listening():
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            stopped = distributed.agreed(interrupt.asked)[0]
    except LossNotFiniteError as error:
        raise LossNotFiniteError(f"{error}: {_kept(work)}; lower it with --set learning_rate=..") from None
    except OSError as error:
        raise BenchError(f"{work} cannot be written ({error.strerror or error}): {_kept(work)}.") from error
    finally:
        progress.close()
    if stopped:
        console.print(f"bench: stopped at step {trainer.state.global_step}; the same command continues.")
        raise KeyboardInterrupt
    clock = next(c for c in trainer.callback_handler.callbacks if isinstance(c, Clock))
    return trainer, clock


def _arguments(job: PreparedTraining, share: Recipe, work: Path, metric: Metric | None) -> Any:
    """TrainingArguments. Raises UsageError for names and types that transformers or this machine does not know."""
    where, track = job.placement, job.options.track
    try:
        args = arguments(share, work, job.steps, where.device, where.dtype, choose_by=metric, track=track)
        transformers.Trainer.get_optimizer_cls_and_kwargs(args)  # its package may be missing
        transformers.get_scheduler(args.lr_scheduler_type, torch.optim.SGD([torch.zeros(1)]), 0, job.steps)
    except (ValueError, TypeError, ImportError) as error:
        raise UsageError(f"recipe {job.recipe_name} cannot be followed here: {first_line(error)}.") from error
    return args


def _kept(work: Path) -> str:
    if distributed.rank():
        return "process 0 knows the last checkpoint"
    whole = committed(work)
    return f"the checkpoint {whole[-1]} is kept" if whole else "no checkpoint had been written yet"


def _keep(
    job: PreparedTraining, trainer: AnswerTrainer, state: dict[str, Any] | None, seconds: float, workspace: Workspace
) -> tuple[Path, AdapterManifest]:
    """Adapter, row ids, history and manifest, whole or not at all."""
    where = AdapterDestination.make(job.options, job.task, workspace)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(
        str(where.aside), state_dict=state, safe_serialization=True, save_embedding_layers=False
    )
    (where.aside / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    write_rows(where.aside, job.task, job.rows)
    write_json(where.aside / "history.json", trainer.state.log_history)
    _write_story(job, trainer, where.aside)
    manifest = _manifest(job, trainer, where, seconds)
    return where.folder, where.settle(manifest, workspace, current=job.options.current)


def _write_story(job: PreparedTraining, trainer: AnswerTrainer, folder: Path) -> None:
    """What the training's report shows: lengths, some targets, answers of the checkpoint that was kept."""
    context = _context(job.files)
    write_lengths(folder, job.train, min(job.recipe.max_length or context, context))
    targets = [target_of(e, job.tokenizer, job.task.labels) for e in job.train[:SHOWN]]
    write_examples(folder, targets, _kept_answers(trainer))


def _kept_answers(trainer: AnswerTrainer) -> StepAnswers:
    """What was measured on the validation rows at the checkpoint that was kept."""
    step = trainer.state.best_global_step or trainer.state.global_step
    kept = answers_file(Path(str(trainer.args.output_dir)), step)
    return msgspec.json.decode(kept.read_bytes(), type=StepAnswers) if kept.is_file() else StepAnswers()


def _manifest(
    job: PreparedTraining, trainer: AnswerTrainer, where: AdapterDestination, seconds: float
) -> AdapterManifest:
    state = trainer.state
    kept = [h for h in state.log_history if h["step"] == state.best_global_step]  # validation, loss, totals at the end
    metrics = {k.replace("eval_", "validation_"): v for h in kept for k, v in h.items() if k.startswith("eval_")}
    losses = [h["loss"] for h in state.log_history if "loss" in h]
    gone = ("runtime", "per_second", "preparation_time")
    return AdapterManifest(
        id=where.id,
        task=job.task.name,
        task_version=job.task.version,
        base=job.files.name,
        base_revision=job.files.revision,
        base_sha256=job.files.sha256(),
        objective=job.recipe.objective,
        decode=job.recipe.default_decode,
        labels=job.task.labels,
        recipe_name=job.recipe_name,
        recipe=plain(job.recipe),
        data=data_facts(job.options, job.rows, len(job.train), job.remarks),
        selection={
            **selection_facts(job.options, job.rows, len(job.rows.validation)),
            **constant_facts(job.task, [row.reference for row in job.rows.validation]),
            "metric": trainer.args.metric_for_best_model,
            "step": state.best_global_step or state.global_step,
        },
        template_hash=job.renderer.template_hash,
        prompt=prompt_of(job.task),
        seed=job.recipe.seed,
        steps=state.global_step,
        tokens=trainer.tokens_learned,
        created=where.created.isoformat(timespec="seconds"),
        duration_s=round(seconds, 3),
        device_hours=seconds / 3600 * trainer.args.world_size,
        device_hour_usd=job.recipe.device_hour_usd,
        metrics={
            **{k: v for k, v in metrics.items() if not k.endswith(gone)},
            **({"training_loss": losses[-1]} if losses else {}),
        },
        versions=hardware.versions(),
        hardware=hardware.hardware(),
        adapter_sha256=weights_digest(where.aside),
        temperature=_kept_answers(trainer).temperature,
    )
