"""Names of what the front door calls in the rooms above the engine, loaded only when called."""

import importlib
from typing import Any

TABLE = "harness.reports.terminal_tables:print_summary"
PROGRESS = "harness.reports.run_progress:RunProgress"
TRAINING_REPORT = "harness.reports.training_page:write_training_report"
RECIPES = "harness.adapters.recipe:list_recipes"
RECIPE_NAMES = "harness.adapters.recipe:builtin_names"
PAIRS = "harness.tasks.stackexchange:build_pairs"


def load(target: str) -> Any:
    """The object that `package.module:name` stands for."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
