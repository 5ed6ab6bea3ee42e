"""What is imported is declared, with a lower bound."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("harness", "tasks", "adapters", "reports")
DISTRIBUTIONS = {
    "charset_normalizer": "charset-normalizer",
    "huggingface_hub": "huggingface-hub",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
}
"""Module to the distribution that brings it, where the names differ."""
NOT_INSTALLED = {"harness", "_typeshed", "pytest", "IPython"}
"""Ourselves; what only type checkers see; who loads our plugin brings pytest, and a notebook brings IPython."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def imported(*, at_start: bool) -> dict[str, str]:
    """Top-level modules of others that the packages import, each with a file; at_start: by modules as they load."""
    found: dict[str, str] = {}
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in tree.body if at_start else ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            else:
                continue
            for name in names:
                found.setdefault(name.split(".")[0], str(path.relative_to(ROOT)))
    return {name: where for name, where in found.items() if name not in sys.stdlib_module_names | NOT_INSTALLED}


def declared(requirements: list[str]) -> set[str]:
    """Names of distributions, lower case."""
    return {re.split(r"[\[<>=;\s]", requirement)[0].lower() for requirement in requirements}


def test_every_import_is_declared() -> None:
    everywhere = declared(
        [*PROJECT["dependencies"], *(r for e in PROJECT["optional-dependencies"].values() for r in e)]
    )
    missing = {n: where for n, where in imported(at_start=False).items() if DISTRIBUTIONS.get(n, n) not in everywhere}
    assert missing == {}


def test_what_the_client_needs_is_a_dependency_of_the_core() -> None:
    core = declared(PROJECT["dependencies"])
    of_extras = declared([r for e in PROJECT["optional-dependencies"].values() for r in e])
    needed = {DISTRIBUTIONS.get(name, name) for name in imported(at_start=True)}
    assert needed - core - of_extras == set()
    assert {"aiohttp", "httpx2", "markupsafe", "msgspec", "openai"} <= core


@pytest.mark.parametrize("requirement", [*PROJECT["dependencies"]])
def test_every_dependency_has_a_lower_bound(requirement: str) -> None:
    assert re.match(r"[A-Za-z0-9._-]+(\[[^\]]*\])?>=\d", requirement)
