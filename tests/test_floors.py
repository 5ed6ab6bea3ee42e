"""An import points only downwards, and no two files import each other."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = {"tasks": "harness.tasks", "adapters": "harness.adapters", "reports": "harness.reports"}
ENGINE = (
    "harness.backend",
    "harness.backends",
    "harness.execution",
    "harness.judging.judge_run",
    "harness.runner",
    "harness.scoring.embedding_similarity",
    "harness.synthetic_data",
    "harness.task_checks",
)


def modules() -> dict[str, Path]:
    """Dotted name -> file, for everything that is installed."""
    found = {}
    for folder, package in {"harness": "harness", **ROOMS}.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = [p for p in path.relative_to(ROOT / folder).with_suffix("").parts if p != "__init__"]
            found[".".join([package, *parts])] = path
    return found


MODULES = modules()


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


def room(name: str) -> str | None:
    return next((package for package in ROOMS.values() if name == package or name.startswith(package + ".")), None)


def is_engine(name: str) -> bool:
    return any(name == e or name.startswith(e + ".") for e in ENGINE)


def test_the_engine_never_imports_a_room() -> None:
    front = ("harness", "harness.api", "harness.cli")  # the command line and the Python API call everything
    wrong = [
        (m, i)
        for m in MODULES
        if room(m) is None and not m.startswith("harness.cli.") and m not in front
        for i in imports(m)
        if room(i)
    ]
    assert not wrong


def test_rooms_do_not_know_each_other() -> None:
    wrong = [(m, i) for m in MODULES if room(m) for i in imports(m) if room(i) and room(i) != room(m)]
    assert not wrong


def test_tasks_stand_on_records_and_rules_alone() -> None:
    wrong = [(m, i) for m in MODULES if room(m) == "harness.tasks" for i in imports(m) if is_engine(i)]
    assert not wrong


def test_records_and_rules_do_not_import_the_engine() -> None:
    ground = [m for m in MODULES if room(m) is None and not is_engine(m) and not m.startswith("harness.cli")]
    # harness/__init__.py re-exports the public names lazily; the pytest plugin is a front door of its own.
    ground = [m for m in ground if m not in ("harness", "harness.api", "harness.pytest_plugin")]
    wrong = [(m, i) for m in ground for i in imports(m) if is_engine(i)]
    assert not wrong


def test_only_the_command_line_imports_the_command_line() -> None:
    wrong = [
        (m, i)
        for m in MODULES
        if not m.startswith("harness.cli") and m not in ("harness.__main__", "harness.api")
        for i in imports(m)
        if i.startswith("harness.cli") and i != "harness.cli.options"
    ]
    assert not wrong


def test_no_two_files_import_each_other() -> None:
    graph = {m: imports(m) for m in MODULES}
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
