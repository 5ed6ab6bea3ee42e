"""Checkpoints that survive a kill: one counts only when its `trainer_state.json`, written last, is whole."""

import json
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import UsageError

STATE = "trainer_state.json"


def committed(folder: Path) -> list[Path]:
    """Whole checkpoints of a training, oldest first; half-written ones are removed."""
    found: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        state = _state(path)
        if state is None:
            shutil.rmtree(path)
        else:
            found.append((int(state["global_step"]), path))
    return [path for _, path in sorted(found)]


def _state(checkpoint: Path) -> dict[str, Any] | None:
    """Read as transformers writes it: a gradient beyond float16's numbers stands there as `Infinity` or `NaN`."""
    try:
        state = json.loads((checkpoint / STATE).read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and "global_step" in state else None


def hold(folder: Path) -> BinaryIO:
    """Keep other processes out of a training's folder until the returned file is closed (or this process dies)."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("ab")
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks
        return file
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(f"the same training is running already (in {folder}): wait for it, or end it.") from None
    return file
