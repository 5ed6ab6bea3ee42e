"""Bench: can a small fine-tuned model replace the paid API, and how sure are we?

The names in `__all__` are the public Python API, documented in docs/reference/python-api.md: verbs as functions, what a
task or a backend of one's own needs, and the records that come back. Everything else in the package is internal and may
change without notice. A public name is imported when it is first used, so that `import harness` costs nothing.
"""

from typing import TYPE_CHECKING, Any

from harness._moved import install as _install_moved_modules

if TYPE_CHECKING:
    from harness.adapter_manifest import AdapterManifest
    from harness.adapters.adapter_export import ExportManifest
    from harness.api import cascade, compare, gate, load_run, report, resume, run
    from harness.backend import Backend, RunContext, RunRequirements
    from harness.confidence_results import CascadeResult
    from harness.data.rows import DataRow, DataSource, HubDataset, open_rows
    from harness.deployment.parity_result import ParityResult
    from harness.deployment_api import export_adapter, parity
    from harness.errors import (
        BackendStopped,
        BenchError,
        DataError,
        ExitCode,
        IncompleteRunError,
        InterruptedRunError,
        MissingExtraError,
        NotComparableError,
        NotFoundError,
        SettingsError,
        StorageError,
        TrainingError,
        UnreachableError,
        UsageError,
    )
    from harness.gating.compare_runs import RunComparison
    from harness.gating.gate_result import CheckResult, GateResult
    from harness.metrics import (
        ACCURACY,
        CLASSIFICATION,
        FORMAT_ERROR_RATE,
        LENIENT_ACCURACY,
        LENIENT_FORMAT_ERROR_RATE,
        MACRO_F1,
        WEIGHTED_F1,
        WEIGHTED_PRECISION,
        WEIGHTED_RECALL,
        Estimate,
        Metric,
    )
    from harness.records import (
        BackendIdentity,
        Completion,
        Cost,
        Failure,
        InputSpan,
        Lenient,
        LogLine,
        Message,
        Record,
        Request,
        Row,
        Sample,
        Score,
        Timing,
        Usage,
        user_message,
    )
    from harness.results import BackendResult, PairResult, ReplacementVerdict, Summary
    from harness.runs.run_handle import Run
    from harness.runs.run_log import Manifest, RunLog
    from harness.scoring.label_parsing import score_label
    from harness.settings import Settings
    from harness.task import Task
    from harness.task_loading import build_request, load_rows, load_task, task_problems
    from harness.training_api import Adapter, train
    from harness.workspace import Workspace

    __version__: str

_MODULES: dict[str, tuple[str, ...]] = {
    "harness.adapter_manifest": ("AdapterManifest",),
    "harness.adapters.adapter_export": ("ExportManifest",),
    "harness.api": ("cascade", "compare", "gate", "load_run", "report", "resume", "run"),
    "harness.training_api": ("Adapter", "train"),
    "harness.backend": ("Backend", "RunContext", "RunRequirements"),
    "harness.confidence_results": ("CascadeResult",),
    "harness.data.rows": ("DataRow", "DataSource", "HubDataset", "open_rows"),
    "harness.deployment.parity_result": ("ParityResult",),
    "harness.deployment_api": ("export_adapter", "parity"),
    "harness.errors": (
        *("BackendStopped", "BenchError", "DataError", "ExitCode", "IncompleteRunError", "InterruptedRunError"),
        *("MissingExtraError", "NotComparableError", "NotFoundError", "SettingsError", "StorageError"),
        *("TrainingError", "UnreachableError", "UsageError"),
    ),
    "harness.gating.compare_runs": ("RunComparison",),
    "harness.gating.gate_result": ("CheckResult", "GateResult"),
    "harness.metrics": (
        *("ACCURACY", "CLASSIFICATION", "Estimate", "FORMAT_ERROR_RATE", "LENIENT_ACCURACY"),
        *("LENIENT_FORMAT_ERROR_RATE", "MACRO_F1", "WEIGHTED_F1", "WEIGHTED_PRECISION", "WEIGHTED_RECALL", "Metric"),
    ),
    "harness.records": (
        *("BackendIdentity", "Completion", "Cost", "Failure", "InputSpan", "Lenient", "LogLine", "Message", "Record"),
        *("Request", "Row", "Sample", "Score", "Timing", "Usage", "user_message"),
    ),
    "harness.results": ("BackendResult", "PairResult", "ReplacementVerdict", "Summary"),
    "harness.runs.run_handle": ("Run",),
    "harness.runs.run_log": ("Manifest", "RunLog"),
    "harness.scoring.label_parsing": ("score_label",),
    "harness.settings": ("Settings",),
    "harness.task": ("Task",),
    "harness.task_loading": ("build_request", "load_rows", "load_task", "task_problems"),
    "harness.workspace": ("Workspace",),
}
"""Module -> the public names that it defines. Type checkers read the imports above, which must be the same."""

_WHERE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ACCURACY",
    "CLASSIFICATION",
    "FORMAT_ERROR_RATE",
    "LENIENT_ACCURACY",
    "LENIENT_FORMAT_ERROR_RATE",
    "MACRO_F1",
    "WEIGHTED_F1",
    "WEIGHTED_PRECISION",
    "WEIGHTED_RECALL",
    "Adapter",
    "AdapterManifest",
    "Backend",
    "BackendIdentity",
    "BackendResult",
    "BackendStopped",
    "BenchError",
    "CascadeResult",
    "CheckResult",
    "Completion",
    "Cost",
    "DataError",
    "DataRow",
    "DataSource",
    "Estimate",
    "ExitCode",
    "ExportManifest",
    "Failure",
    "GateResult",
    "HubDataset",
    "IncompleteRunError",
    "InputSpan",
    "InterruptedRunError",
    "Lenient",
    "LogLine",
    "Manifest",
    "Message",
    "Metric",
    "MissingExtraError",
    "NotComparableError",
    "NotFoundError",
    "PairResult",
    "ParityResult",
    "Record",
    "ReplacementVerdict",
    "Request",
    "Row",
    "Run",
    "RunComparison",
    "RunContext",
    "RunLog",
    "RunRequirements",
    "Sample",
    "Score",
    "Settings",
    "SettingsError",
    "StorageError",
    "Summary",
    "Task",
    "Timing",
    "TrainingError",
    "UnreachableError",
    "Usage",
    "UsageError",
    "Workspace",
    "__version__",
    "build_request",
    "cascade",
    "compare",
    "export_adapter",
    "gate",
    "load_rows",
    "load_run",
    "load_task",
    "open_rows",
    "parity",
    "report",
    "resume",
    "run",
    "score_label",
    "task_problems",
    "train",
    "user_message",
]


if not TYPE_CHECKING:  # a type checker would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("bench-harness")
        if name not in _WHERE:
            raise AttributeError(f"module 'harness' has no attribute '{name}'")
        from importlib import import_module

        found = globals()[name] = getattr(import_module(_WHERE[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_install_moved_modules()
