"""The recipes under examples/: settings that Bench reads, YAML that parses, scripts that bash accepts."""

import subprocess
from pathlib import Path

import pytest
import yaml

from harness.backend import RunContext
from harness.execution.backend_setup import make_backends
from harness.settings import load_settings, read_toml
from harness.workspace import Workspace

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = ("kuberay", "sglang", "slurm", "vllm")


def found(pattern: str) -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (EXAMPLES / folder).rglob(pattern))


def name(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


def test_every_recipe_is_here() -> None:
    assert {path.relative_to(EXAMPLES).parts[0] for path in found("bench.toml")} == set(FOLDERS)


@pytest.mark.parametrize("path", found("bench.toml"), ids=name)
def test_settings_are_read_by_the_backends_themselves(path: Path, tmp_path: Path) -> None:
    own = read_toml(path)["backends"]
    settings = load_settings(path)
    tables = {backend: settings.backend(backend) for backend in own}
    made = make_backends(tables, "agnews", RunContext(Workspace(tmp_path)))
    assert set(made) == set(own)


@pytest.mark.parametrize("path", found("*.yaml"), ids=name)
def test_yaml_parses_and_names_what_it_is(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    for document in documents:
        assert {"apiVersion", "kind", "metadata", "spec"} <= set(document)


@pytest.mark.parametrize("path", [*found("*.sh"), *found("*.sbatch")], ids=name)
def test_scripts_are_bash(path: Path) -> None:
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
