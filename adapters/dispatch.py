"""`bench train`: which kind of training a recipe asks for."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.adapter_manifest import AdapterManifest
from harness.adapters.recipe import load_recipe, recipe_table
from harness.adapters.train_options import TrainOptions
from harness.backends.local.base_files import missing_local_extra
from harness.errors import BenchError, ExitCode, UsageError
from harness.workspace import Workspace

if TYPE_CHECKING:
    from harness.adapters.sweep import SweepResult, Train

NO_GROUPS = (
    "--seeds and --sweep rank trainings by the task's own score on validation rows, and a provider reports only "
    "its loss: start hosted trainings one by one (--seed, --set) and compare them with bench run."
)


def objective_of(options: TrainOptions) -> str:
    """The kind of training that the recipe asks for. Raises UsageError."""
    name = options.recipe or options.load_task().recipe
    kind = recipe_table(name, options.overrides).get("objective")
    if options.track is not None and kind in ("hosted", "tfidf"):
        raise UsageError(
            f"--track follows the steps of a training on this machine; recipe {name} has none: leave it out."
        )
    if kind == "hosted":
        return "hosted"
    if options.max_cost is not None:
        raise UsageError(f"--max-cost is for hosted fine-tuning; recipe {name} trains on this machine: leave it out.")
    return load_recipe(name, options.overrides).objective


def train(options: TrainOptions, workspace: Workspace, console: Console) -> tuple[Path, AdapterManifest]:
    """Train what the recipe asks for; returns the adapter's folder and manifest. Raises UsageError."""
    objective = objective_of(options)
    if objective == "hosted":
        if _together():
            raise UsageError("a provider trains: start hosted fine-tuning in one process, without a launcher.")
        from harness.adapters.hosted.hosted_training import train_hosted

        return train_hosted(options, workspace, console)
    trainer = _trainer(objective)
    try:
        return trainer(options, workspace, console, None)
    except (BenchError, KeyboardInterrupt) as error:
        if _tells(error):
            raise
        # the first process of this machine says the same
        code = error.exit_code if isinstance(error, BenchError) else ExitCode.INTERRUPTED
        raise SystemExit(int(code)) from None


def _tells(error: BaseException) -> bool:
    """Whether this process says what went wrong: the first of its machine, or one that lost another."""
    if not _together():
        return True
    from harness.adapters.distributed import PeerLostError, local_rank

    return local_rank() == 0 or isinstance(error, PeerLostError)


def prints_results() -> bool:
    """Whether this process prints what was trained: alone, or the first of those that train together."""
    return int(os.environ.get("RANK", "0")) == 0


def _together() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def train_group(
    options: TrainOptions, sweeps: tuple[str, ...], seeds: int, workspace: Workspace, console: Console
) -> "SweepResult":
    """Train the grid of `sweeps` with so many seeds each; the best on validation rows is chosen. Raises UsageError."""
    objective = objective_of(options)
    if objective == "hosted":
        raise UsageError(NO_GROUPS)
    if _together():
        raise UsageError("seeds and sweeps train in one process, one after the other: start them without a launcher.")
    trainer = _trainer(objective)
    from harness.adapters.sweep import plan_group
    from harness.adapters.sweep import train_group as train_all

    return train_all(plan_group(options, sweeps, seeds), trainer, workspace, console)


def dry_run(options: TrainOptions, sweeps: tuple[str, ...] = (), seeds: int = 1) -> tuple[object, str]:
    """What a training, or a group of them, would take: a record for machines, and a text. Raises UsageError."""
    objective = objective_of(options)
    if objective == "hosted":
        if sweeps or seeds > 1:
            raise UsageError(NO_GROUPS)
        from harness.adapters.hosted.preparation import dry_run as hosted_plan

        return hosted_plan(options)
    if objective == "tfidf":
        raise UsageError("a TF-IDF baseline is fitted in seconds: leave out --dry-run.")
    need_local()
    if sweeps or seeds > 1:
        from harness.adapters.dry_run import sweep_dry_run as plan_all

        return plan_all(options, sweeps, seeds)
    from harness.adapters.dry_run import dry_run as plan

    return plan(options)


def cancel(options: TrainOptions, workspace: Workspace) -> str:
    """Cancel the provider's job of a training that was begun; returns a sentence. Raises UsageError."""
    if objective_of(options) != "hosted":
        raise UsageError("--cancel is for hosted fine-tuning; a training on this machine ends with Ctrl-C.")
    from harness.adapters.hosted.hosted_training import cancel_hosted

    return cancel_hosted(options, workspace)


def _trainer(objective: str) -> "Train":
    if objective == "tfidf":
        if _together():
            raise UsageError("a TF-IDF baseline is fitted in one process: start it without a launcher.")
        from harness.adapters.classical_baseline import train_baseline

        return train_baseline
    need_local()
    from harness.adapters.lora_training import train as train_adapter

    return train_adapter


def need_local() -> None:
    """Raise UsageError where the extra `local` is not installed."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # its advice about optional kernels
    try:
        import peft  # noqa: F401  (the extra `local` brings it; reported now rather than in the middle)
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise missing_local_extra() from None
