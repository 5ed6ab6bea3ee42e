"""The reference pages and schemas are what the code says, and every setting has a meaning."""

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from docs.generate.command_line import commands
from docs.generate.files import COMMAND, generated
from docs.generate.meanings import fields, meanings
from docs.generate.settings import backend_settings
from docs.generate.tables import inner_records
from harness.adapters.hosted.hosted_recipe import HostedRecipe
from harness.adapters.recipe import Recipe, builtin_names
from harness.gating.gate_settings import GateKeys, Terms
from harness.settings import TABLES
from harness.task_forms import TaskFile

ROOT = Path(__file__).parents[2]
SETTINGS: list[type[msgspec.Struct]] = [*backend_settings().values(), GateKeys, Terms, Recipe, HostedRecipe, TaskFile]


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return generated()


def schema(files: dict[str, str], name: str) -> Draft202012Validator:
    found = json.loads(files[f"docs/schemas/{name}.schema.json"])
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def test_the_committed_files_are_those_that_the_code_makes(files: dict[str, str]) -> None:
    stale = [n for n, text in files.items() if not (ROOT / n).is_file() or (ROOT / n).read_text("utf-8") != text]
    assert not stale, f"no longer what the code says: {', '.join(stale)}; run `{COMMAND}` and commit what it writes"


def test_nothing_else_stands_beside_them(files: dict[str, str]) -> None:
    there = {
        str(p.relative_to(ROOT)) for folder in ("reference", "schemas") for p in (ROOT / "docs" / folder).iterdir()
    }
    assert there == {name for name in files if name.startswith("docs/")}


@pytest.mark.parametrize("kind", [one for top in SETTINGS for one in [top, *inner_records(top)]])
def test_every_setting_has_a_meaning(kind: type[msgspec.Struct]) -> None:
    missing = set(fields(kind)) - set(meanings(kind)) - {"kind"}
    assert not missing, f"say what they mean in the docstring of {kind.__name__}, as `name: meaning.`: {missing}"


def test_every_command_and_option_has_help() -> None:
    silent = [
        f"{name} {option.opts[0]}"
        for name, command in commands().items()
        for option in command.params
        if option.param_type_name == "option" and not getattr(option, "help", None)
    ]
    assert not silent
    assert not [name for name, command in commands().items() if not command.help]


def test_every_table_of_bench_toml_is_in_its_schema(files: dict[str, str]) -> None:
    assert set(json.loads(files["docs/schemas/bench.schema.json"])["properties"]) == set(TABLES)


def test_the_schemas_take_what_bench_itself_brings(files: dict[str, str]) -> None:
    schema(files, "bench").validate(tomllib.loads(resources.files("harness").joinpath("defaults.toml").read_text()))
    schema(files, "task").validate(
        tomllib.loads(resources.files("harness").joinpath("starters/task.toml.txt").read_text())
    )
    for name in builtin_names():
        text = resources.files("harness.adapters.recipes").joinpath(f"{name}.toml").read_text("utf-8")
        schema(files, "recipe").validate(tomllib.loads(text))
    summary = ROOT / "tests" / "reports" / "golden" / "run" / "summary.json"
    schema(files, "summary").validate(json.loads(summary.read_text()))


@pytest.mark.parametrize(
    ("name", "text", "fits"),
    [
        ("bench", '[backends.gpt4]\nrpm = 500\nprice = { input = 2.0, output = 8.0 }', True),
        ("bench", '[backends.gpt4]\nrmp = 500', False),
        ("bench", '[backends.gpt4]\nkind = "replay"\npath = "a.jsonl"', True),
        ("bench", '[backends.gpt4]\nkind = "replay"\nrpm = 5', False),
        ("bench", '[backends.mine]\nkind = "openai"\nmodel = "m"\nbase_url = ["http://a/v1", "http://b/v1"]', True),
        ("bench", '[backends.mine]\nkind = "openai"', False),
        ("bench", '[backends.mine]\nmodel = "m"', False),
        ("bench", '[backends.mine]\nkind = "opnai"\nmodel = "m"', False),
        ("bench", '[backends.mine]\nkind = "./echo.py:Echo"\nwhatever = 1', True),
        ("bench", '[gate]\nmax_error_rate = 0.01\naccuracy = { margin = 0.02 }', True),
        ("bench", '[gate]\naccuracy = { margn = 0.02 }', False),
        ("bench", "[backend]", False),
        ("recipe", 'extends = "tfidf"\nepochs = 2\n[lora]\nr = 8', True),
        ("recipe", "epoch = 2", False),
        ("recipe", 'objective = "choose"', False),
        ("task", 'prompt = "{{ text }}"\nlabels = ["a", "b"]\nreference = "label"', True),
        ("task", 'prompt = "{{ text }}"\nlabel = ["a", "b"]', False),
    ],
)  # fmt: skip
def test_the_schemas_tell_right_from_wrong(files: dict[str, str], name: str, text: str, fits: bool) -> None:
    table: dict[str, Any] = tomllib.loads(text)
    assert schema(files, name).is_valid(table) == fits
