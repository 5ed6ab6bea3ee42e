"""The course of a training as points: what `history.json` beside an adapter holds."""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

HISTORY = "history.json"
NOT_SCORES = ("loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
"""What stands under `eval_` beside the validation scores."""

Points = dict[int, float]
"""Step -> value, in the order of steps."""


class History(NamedTuple):
    """Curves of a training; a curve that was not noted is empty. scores: validation scores by name."""

    loss: Points
    validation_loss: Points
    learning_rate: Points
    scores: dict[str, Points]


def read_history(folder: Path) -> History:
    """The curves of an adapter; all empty where it keeps none, or none that can be read."""
    try:
        lines = msgspec.json.decode((folder / HISTORY).read_bytes(), type=list[dict[str, Any]])
    except (OSError, msgspec.MsgspecError):
        lines = []
    names = dict.fromkeys(k.removeprefix("eval_") for line in lines for k in line if k.startswith("eval_"))
    return History(
        loss=_points(lines, "loss"),
        validation_loss=_points(lines, "eval_loss"),
        learning_rate=_points(lines, "learning_rate"),
        scores={
            name: found for name in names if not name.endswith(NOT_SCORES) and (found := _points(lines, f"eval_{name}"))
        },
    )


def _points(lines: list[dict[str, Any]], key: str) -> Points:
    """The last value of every step; what is no finite number is left out."""
    found: Points = {}
    for line in lines:
        value, step = line.get(key), line.get("step")
        if isinstance(value, int | float) and isinstance(step, int) and abs(value) != float("inf") and value == value:
            found[step] = float(value)
    return dict(sorted(found.items()))
