"""An import points only downwards, and no two files import each other."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP_FOLDERS = {"tasks": "harness.tasks", "adapters": "harness.adapters", "reports": "harness.reports"}
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "records",
        (
            *("_moved", "confidence_results", "errors", "extras", "files", "hardware", "hashing", "metrics", "records"),
            *("registry", "results", "run_options", "settings", "text_format", "text_normalization", "text_sanitize"),
        ),
    ),
    (
        "rows, rules and files",
        (
            *("peft_folder", "safetensors_header"),
            *("adapter_group", "adapter_manifest", "confidence", "data", "money", "prompting", "remote_adapter"),
            *("runs", "scoring", "statistics", "task", "task_file", "task_forms", "task_from_rows"),
            *("task_loading", "training_record"),
            "workspace",
        ),
    ),
    ("summary and gate", ("gating", "summary")),
    ("backends", ("backend", "backends")),
    (
        "execution",
        ("deployment", "execution", "judging", "runner", "label_audit", "synthetic_data", "tool_logs"),
    ),
    ("tasks, adapters, reports", ("adapters", "reports", "tasks")),
    ("entry points", ("__main__", "api", "api_arguments", "cli", "deployment_api", "pytest_plugin", "training_api")),
)
"""The layers from the lowest to the highest, each with its packages and modules of `harness`."""

FOR_TASKS = ("records", "rows, rules and files")
"""Layers that a task may import."""


def modules() -> dict[str, Path]:
    """Dotted name -> file, for everything that is installed."""
    found = {}
    for folder, package in {"harness": "harness", **TOP_FOLDERS}.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = [p for p in path.relative_to(ROOT / folder).with_suffix("").parts if p != "__init__"]
            found[".".join([package, *parts])] = path
    return found


MODULES = modules()


@cache
def imports(name: str) -> set[str]:
    """Modules of the project that a module imports, wherever in the file (type-checking blocks left out)."""
    path = MODULES[name]
    tree = ast.parse(path.read_text("utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            skipped |= {inner for part in node.body for inner in ast.walk(part)}
    found = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                for _ in range(node.level - 1):
                    package = package.rpartition(".")[0]
                base = f"{package}.{base}".rstrip(".")
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {m for m in found if m in MODULES and m != name}


def package(name: str) -> str:
    """`harness.gating.checks` -> "gating"; "" for `harness` itself, which re-exports names when they are first used."""
    return name.partition(".")[2].partition(".")[0]


LAYER_OF = {part: n for n, (_, parts) in enumerate(LAYERS) for part in parts}


def test_every_module_has_a_layer() -> None:
    unknown = {package(name) for name in MODULES} - set(LAYER_OF) - {""}
    assert not unknown, "name their layer in LAYERS"


def test_imports_point_downwards() -> None:
    wrong = [
        f"{name} ({LAYERS[LAYER_OF[package(name)]][0]}) imports {other} ({LAYERS[LAYER_OF[package(other)]][0]})"
        for name in MODULES
        for other in imports(name)
        if package(name) and package(other) and LAYER_OF[package(other)] > LAYER_OF[package(name)]
    ]
    assert not wrong


def test_tasks_adapters_and_reports_do_not_import_each_other() -> None:
    tops = ("tasks", "adapters", "reports")
    wrong = [
        (name, other)
        for name in MODULES
        for other in imports(name)
        if package(name) in tops and package(other) in tops and package(other) != package(name)
    ]
    assert not wrong


def test_tasks_need_records_and_rules_alone() -> None:
    wrong = [
        (name, other)
        for name in MODULES
        if package(name) == "tasks"
        for other in imports(name)
        if package(other) not in ("", "tasks") and LAYERS[LAYER_OF[package(other)]][0] not in FOR_TASKS
    ]
    assert not wrong


def test_only_summary_and_gate_are_packages_that_import_each_other() -> None:
    edges = {(package(m), package(i)) for m in MODULES for i in imports(m) if package(m) != package(i)}
    assert {pair for pair in edges if pair[::-1] in edges and "" not in pair} <= {
        ("gating", "summary"),
        ("summary", "gating"),
    }


def test_only_the_command_line_imports_the_command_line() -> None:
    wrong = [
        (name, other)
        for name in MODULES
        if package(name) not in ("cli", "__main__", "api_arguments")
        for other in imports(name)
        if package(other) == "cli" and other not in ("harness.cli", "harness.cli.options")
    ]
    assert not wrong


def test_no_two_files_import_each_other() -> None:
    refuse_cycles({m: imports(m) for m in MODULES})


def test_no_two_benchmarks_import_each_other() -> None:
    """They import each other as plain modules of their own folder, or as `benchmarks.real.servers`."""
    files = {path.stem: path for path in (ROOT / "benchmarks").rglob("*.py") if path.stem != "__init__"}
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        froms = [n for n in nodes if isinstance(n, ast.ImportFrom)]
        words = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
        words |= {n.module for n in froms if n.module} | {a.name for n in froms for a in n.names if _own(n)}
        graph[name] = {w.rpartition(".")[2] for w in words if "harness" not in w} & set(files) - {name}
    refuse_cycles(graph)


def _own(node: ast.ImportFrom) -> bool:
    return (node.module or "").startswith("benchmarks") or node.level > 0


def refuse_cycles(graph: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done:
            return
        for other in graph[name]:
            visit(other, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())
