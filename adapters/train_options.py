"""The options of `bench train`, and the error of a loss that is not finite."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.adapter_manifest import MANIFEST
from harness.errors import TrainingError, UsageError
from harness.prompting.prompt_variants import Prompted
from harness.task import Task
from harness.task_loading import load_task


@dataclass(frozen=True)
class TrainOptions:
    """What `bench train` was asked; None means the recipe's or task's own.

    track: an experiment tracker that also logs the training.
    group: what the manifest says of the group of trainings this one belongs to; its adapter becomes current only
    when the group is ranked. max_cost: USD that a hosted training may cost.
    """

    task: str
    base: str | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    data: str | None = None
    limit: int | None = None
    out: Path | None = None
    prompt: str | None = None
    track: str | None = None
    group: dict[str, Any] | None = None
    max_cost: float | None = None

    def load_task(self) -> Task:
        """The task, asked with `--prompt` where one is given. Raises UsageError."""
        task = load_task(self.task)
        return task if self.prompt is None else Prompted(task, self.prompt)

    @property
    def current(self) -> bool:
        """Whether the adapter becomes current as soon as it is finished."""
        return self.out is None and self.group is None

    @property
    def tells_remarks(self) -> bool:
        """Whether remarks on the rows are worth saying: once a group."""
        return self.group is None or bool(self.group.get("first"))

    def check_out(self) -> None:
        """Refuse a folder that holds something already. Raises UsageError."""
        out = self.out
        if out is None:
            return
        if (out / MANIFEST).exists():
            raise UsageError(
                f"{out} holds another adapter: name another --out, or remove it with `bench adapter rm {out}`."
            )
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"--out {out} is not an empty folder: name another.")


class LossNotFiniteError(TrainingError):
    """The loss became NaN or infinite: nothing learned after that step is worth anything."""
