"""`--track`: the course of a training to a tracker as well, through transformers' own integrations.

Everything stays on this machine, in the workspace, unless the tracker's own environment variables name another place.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator

from harness.errors import UsageError
from harness.workspace import Workspace

TRACKERS = ("mlflow", "wandb", "trackio", "tensorboard")


def check_tracker(name: str | None) -> None:
    """Refuse a tracker whose package is missing, before anything is read. Raises UsageError."""
    if name is not None and importlib.util.find_spec(name) is None:
        raise UsageError(f"--track {name} needs the package {name}: python -m pip install {name}.")


@contextlib.contextmanager
def tracked(name: str | None, workspace: Workspace, run: str) -> Iterator[None]:
    """Say where the tracker writes, for this block only; what a person has set in the environment stays as it is."""
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
