"""Bench: can a small fine-tuned model replace the paid API, and how sure are we?

The public names are loaded when first used, so that importing `harness` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.backend import Backend
    from harness.records import Completion, Request, Sample, Score
    from harness.runner import resume, run
    from harness.runs.run_log import RunLog
    from harness.task import Task

_WHERE = {
    "Backend": "harness.backend",
    "Completion": "harness.records",
    "Request": "harness.records",
    "RunLog": "harness.runs.run_log",
    "Sample": "harness.records",
    "Score": "harness.records",
    "Task": "harness.task",
    "resume": "harness.runner",
    "run": "harness.runner",
}

__all__ = ["Backend", "Completion", "Request", "RunLog", "Sample", "Score", "Task", "resume", "run"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)
