"""Import paths of earlier versions: they keep working and warn with the import that replaces them.

Task, test and backend files that users wrote (or `bench new-task` wrote for them) name modules. A module that has moved
is found by `MovedModuleFinder`, which Python asks only after every other finder has failed; a name that has changed
within a module is found by that module's `__getattr__`, which calls `renamed`.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGES = ("harness.answers", "harness.asking", "harness.preflight")
"""Packages that no longer exist; they hold nothing but modules of `MODULES`."""

MODULES: dict[str, str] = {
    "harness.answers.forms": "harness.scoring.answer_forms",
    "harness.answers.labels": "harness.scoring.label_parsing",
    "harness.answers.reasoning": "harness.scoring.reasoning",
    "harness.answers.references": "harness.scoring.references",
    "harness.asking.plan": "harness.task_loading",
    "harness.identity": "harness.records",
    "harness.preflight.task_checks": "harness.task_loading",
    "harness.prompting.user_message": "harness.records",
    "harness.runlog": "harness.runs.run_log",
}
"""Earlier module -> the module in which its names are defined now."""

NAMES: dict[tuple[str, str], str] = {
    ("harness.asking.plan", "ask"): "build_request",
    ("harness.backend", "Needs"): "RunRequirements",
    ("harness.identity", "Identity"): "BackendIdentity",
    ("harness.records", "Passage"): "InputSpan",
}
"""(module, earlier name) -> the present name, where it has changed."""


def renamed(module: str, name: str) -> Any:
    """The object that `module` once offered as `name`, with a DeprecationWarning at the line that asked for it.

    Only for the `__getattr__` of a module: the warning points at its caller. Raises AttributeError for a name that the
    module has never offered.
    """
    public = import_module("harness")
    target, now = MODULES.get(module, module), NAMES.get((module, name), name)
    moved = (module, name) != (target, now)
    if moved and now in public.__all__:
        found, instead = getattr(public, now), f"`from harness import {now}`"
    elif moved and hasattr(import_module(target), now):
        found, instead = getattr(import_module(target), now), f"`from {target} import {now}` (internal, may change)"
    else:
        raise AttributeError(f"module '{module}' has no attribute '{name}'")
    warnings.warn(f"{module}.{name} has moved: write {instead}.", DeprecationWarning, stacklevel=3)
    return found


class _MovedModule(ModuleType):
    """A module that no longer exists: its names are looked up where they are defined now."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return renamed(self.__name__, name)


class MovedModuleFinder:
    """Finder and loader of the modules of `MODULES` and `PACKAGES`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A specification for a module that has moved, else None."""
        if fullname not in MODULES and fullname not in PACKAGES:
            return None
        # No subclass of importlib.abc.Loader: importing that takes longer than everything else here.
        return ModuleSpec(fullname, self, is_package=fullname in PACKAGES)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module; what it stands for is imported when a name is looked up."""
        return _MovedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute."""


def install() -> None:
    """Append the finder to `sys.meta_path`, once."""
    if not any(isinstance(finder, MovedModuleFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedModuleFinder())
