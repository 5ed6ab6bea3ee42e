"""`bench train`: which kind of training a recipe asks for."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.adapter import AdapterManifest
from harness.errors import BenchError, ExitCode, UsageError
from harness.local.base import missing_extra
from harness.workspace import Workspace

from .options import TrainOptions
from .recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from .group import GroupDone, Train


def recipe_of(options: TrainOptions) -> tuple[str, Recipe]:
    """The recipe's name and content. Raises UsageError."""
    name = options.recipe or options.load_task().recipe
    return name, load_recipe(name, options.overrides)


def train(options: TrainOptions, workspace: Workspace, console: Console) -> tuple[Path, AdapterManifest]:
    """Train what the recipe asks for; returns the adapter's folder and manifest. Raises UsageError."""
    trainer = _trainer(recipe_of(options)[1])
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
    from .ranks import PeerLostError, local_rank

    return local_rank() == 0 or isinstance(error, PeerLostError)


def speaks() -> bool:
    """Whether this process prints what was trained: alone, or the first of those that train together."""
    return int(os.environ.get("RANK", "0")) == 0


def _together() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def train_group(
    options: TrainOptions, sweeps: tuple[str, ...], seeds: int, workspace: Workspace, console: Console
) -> "GroupDone":
    """Train the grid of `sweeps` with so many seeds each; the best on validation rows is chosen. Raises UsageError."""
    if _together():
        raise UsageError("seeds and sweeps train in one process, one after the other: start them without a launcher.")
    trainer = _trainer(recipe_of(options)[1])
    from .group import plan_group
    from .group import train_group as train_all

    return train_all(plan_group(options, sweeps, seeds), trainer, workspace, console)


def dry_run(options: TrainOptions, sweeps: tuple[str, ...] = (), seeds: int = 1) -> tuple[object, str]:
    """What a training, or a group of them, would take: a record for machines, and a text. Raises UsageError."""
    _, recipe = recipe_of(options)
    if recipe.objective == "tfidf":
        raise UsageError("a TF-IDF baseline is fitted in seconds: leave out --dry-run.")
    need_local()
    if sweeps or seeds > 1:
        from .group_dry_run import dry_run as plan_all

        return plan_all(options, sweeps, seeds)
    from .dry_run import dry_run as plan

    return plan(options)


def _trainer(recipe: Recipe) -> "Train":
    if recipe.objective == "tfidf":
        if _together():
            raise UsageError("a TF-IDF baseline is fitted in one process: start it without a launcher.")
        from .baseline import train_baseline

        return train_baseline
    need_local()
    from .train import train as train_adapter

    return train_adapter


def need_local() -> None:
    """Raise UsageError where the extra `local` is not installed."""
    try:
        import peft  # noqa: F401  (the extra `local` brings it; better said now than in the middle)
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise missing_extra() from None
