"""The public names: what `harness` exports, what type checkers see of it, and what importing it costs."""

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import harness
from docs.generate.command_line import commands

ROOT = Path(__file__).parents[2]

RENAMED = {"no_cache": "use_cache", "probe_rows": "latency_probe", "sweeps": "sweep"}
"""Parameters of a command -> those of the function: a flag that switches off is a keyword that is true by default."""
PRINTING = {"as_json", "quiet"}
"""Of the terminal alone."""
ELSEWHERE = {
    "run": {"resume"},  # a function of its own
    "train": {"cancel", "dry_run", "launch", "num_processes"},
    "gate": {"markdown_file", "junit_file"},
    "report": {"plots", "vote", "votes"},
}
"""Options that only the command has."""
PYTHON_ONLY = {"workspace", "progress"}
"""BENCH_HOME and --quiet of the command line."""


def test_type_checkers_and_the_running_program_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "harness" / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    static = {
        (node.module, alias.name) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert static == {(module, name) for module, names in harness._MODULES.items() for name in names}
    assert {name for _, name in static} | {"__version__"} == set(harness.__all__)
    assert len(set(harness.__all__)) == len(harness.__all__)


@pytest.mark.parametrize("name", harness.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    found = getattr(harness, name)
    assert name in dir(harness)
    if callable(found):
        assert inspect.getdoc(found), f"{name} has no docstring"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        getattr(harness, "runn")  # noqa: B009


def test_no_public_name_is_hidden_by_a_submodule() -> None:
    # Importing `harness.gate` would replace the function `gate` by the module.
    submodules = {module.name for module in pkgutil.iter_modules(harness.__path__)}
    assert not submodules & set(harness.__all__)


def test_importing_it_loads_no_other_module_of_the_project_or_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import harness; new = set(sys.modules) - before\n"
        "import json; print(json.dumps(sorted(m for m in new if m.partition('.')[0] not in sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["harness", "harness._moved"]


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert harness.__version__ == version("bench-harness")


@pytest.mark.parametrize("verb", ["run", "train", "compare", "gate", "report", "parity", "adapter export"])
def test_a_function_takes_the_options_of_its_verb_with_the_same_defaults(verb: str) -> None:
    name = {"adapter export": "export_adapter"}.get(verb, verb)
    command, function = commands()[verb], inspect.signature(getattr(harness, name))
    options = {RENAMED.get(str(p.name), str(p.name)): p for p in command.params if p.name not in PRINTING}
    options = {name: option for name, option in options.items() if name not in ELSEWHERE.get(verb, set())}
    names = set(function.parameters)
    assert names - PYTHON_ONLY == set(options)
    for name, option in options.items():
        default = function.parameters[name].default
        if default is not inspect.Parameter.empty and name != "use_cache":
            assert (default or None) == declared_default(option), name


def declared_default(option: click.Parameter) -> object:
    """The default of an option; None for none, 0 and an empty list. Some versions of click have a sentinel for none."""
    default = option.get_default(click.Context(click.Command("any")))
    return (default or None) if isinstance(default, str | int | float | tuple) else None
