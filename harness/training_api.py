"""Training as a Python function: `train`, and the adapter that it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.api_arguments import console_of, task_spec, workspace_of

if TYPE_CHECKING:
    from harness.adapter_group import Group
    from harness.adapter_manifest import AdapterManifest
    from harness.task import Task
    from harness.workspace import Workspace


@dataclass(frozen=True)
class Adapter:
    """A trained adapter.

    path: its folder. manifest: everything that made it. group: every training that it was chosen from, with `seeds`
    or `sweep`; None for a single training.
    """

    path: Path
    manifest: "AdapterManifest"
    group: "Group | None" = None

    @property
    def id(self) -> str:
        """The id that names it in the workspace."""
        return self.manifest.id

    @property
    def metrics(self) -> dict[str, float]:
        """Scores on the validation rows, by metric."""
        return dict(self.manifest.metrics)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in self.manifest.metrics.items())
        return f"Adapter {self.id}: {self.manifest.task} on {self.manifest.base}" + (f"; {scores}" if scores else "")

    def _repr_html_(self) -> str:
        from harness.text_sanitize import html_table

        made = self.manifest
        facts = {"task": made.task, "base": made.base, "recipe": made.recipe_name, "objective": made.objective}
        facts |= {"steps": f"{made.steps:,}", "minutes": f"{made.duration_s / 60:.1f}"}
        scores = {f"{name}, validation": f"{value:.3f}" for name, value in made.metrics.items()}
        return html_table(f"Adapter {self.id} in {self.path}", [["", ""], *map(list, (facts | scores).items())])


def train(
    task: "str | Task | type[Task]",
    *,
    base: str | None = None,
    recipe: Path | str | None = None,
    data: Path | str | None = None,
    test_share: float | None = None,
    limit: int | None = None,
    prompt: Path | str | None = None,
    seed: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: int = 1,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    out: Path | str | None = None,
    max_cost: float | None = None,
    track: Literal["mlflow", "wandb", "trackio", "tensorboard"] | None = None,
    workspace: "Path | str | Workspace | None" = None,
    progress: bool | None = None,
) -> Adapter:
    """Fine-tune an adapter on a task's training rows, here or at a provider, and return it.

    task: as in `run`.
    base: the base model, a Hub id or a folder; None: the recipe's.
    recipe: a recipe's name or a TOML file; None: the task's.
    data: a folder or "embedded"; None: the task's data set on the Hub.
    test_share: as in `run`; the rest of the rows is trained on.
    limit: training rows at most; None: as the recipe says.
    prompt: a file with another prompt, a Jinja template.
    seed: of every choice; None: the recipe's.
    overrides: recipe fields and their values, `{"lora.r": 8}` (`--set`).
    seeds: trainings with the seeds S, S + 1, ..; the best on the validation rows is chosen.
    sweep: recipe fields and the values to try, `{"learning_rate": [1e-4, 2e-4]}`; several fields make a grid.
    out: the adapter's folder; None: a new folder in the workspace, which becomes the current adapter.
    max_cost: for hosted fine-tuning, USD: what could cost more is refused before anything is uploaded.
    track: a tracker that records the training as well.
    workspace, progress: as in `run`.

    Raises UsageError for wrong options, rows or recipes, MissingExtraError where the extra `local` is not installed,
    TrainingError where the loss is not finite, and InterruptedRunError after Ctrl-C in hosted fine-tuning.
    """
    from harness.adapters import dispatch
    from harness.adapters.train_options import TrainOptions
    from harness.reports.training_page import write_training_report

    changed = {**(overrides or {}), **({} if seed is None else {"seed": seed})}
    console, place = console_of(progress), workspace_of(workspace)
    if test_share is not None:
        from harness.runner import split_once

        data = split_once(None if data is None else str(data), test_share, place)
    options = TrainOptions(
        task_spec(task),
        base,
        None if recipe is None else str(recipe),
        tuple(f"{key}={_toml(value)}" for key, value in changed.items()),
        None if data is None else str(data),
        limit,
        None if out is None else Path(out),
        None if prompt is None else str(prompt),
        max_cost=max_cost,
        track=track,
    )
    if sweep or seeds > 1:
        sweeps = tuple(f"{key}={','.join(map(_toml, values))}" for key, values in (sweep or {}).items())
        done = dispatch.train_group(options, sweeps, seeds, place, console)
        adapter, folders = Adapter(done.folder, done.manifest, done.group), done.folders
    else:
        folder, manifest = dispatch.train(options, place, console)
        adapter, folders = Adapter(folder, manifest), [folder]
    for trained in folders:
        write_training_report(trained)
    return adapter


def _toml(value: Any) -> str:
    """A value as `--set` and `--sweep` take it: TOML and JSON write texts, numbers, booleans and lists alike."""
    import msgspec

    return msgspec.json.encode(value).decode()
