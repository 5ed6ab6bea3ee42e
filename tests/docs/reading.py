"""Reads blocks of settings and data as Bench itself reads them; none of them is run."""

import csv
import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import yaml

from docs.generate.meanings import fields
from harness.adapters.recipe import Recipe, load_recipe
from harness.gating.gate_settings import gate_settings
from harness.metrics import CLASSIFICATION
from harness.registry import BACKENDS, TASKS, find
from harness.settings import TABLES, decode_table, load_settings
from harness.task_file import FileTask
from harness.task_forms import TaskFile
from tests.docs.blocks import ROOT, Block


def read(block: Block, folder: Path) -> None:
    """Read a toml, json or yaml block; what it names must be in `folder`. Fails as Bench would."""
    if block.language == "toml":
        _toml(block, folder)
    elif block.language == "yaml":
        assert isinstance(yaml.safe_load(block.text), dict), block.place
    elif block.language == "csv":
        assert len({len(row) for row in csv.reader(block.text.splitlines())}) == 1, block.place
    else:
        for text in [block.text] if block.text.lstrip().startswith("[") else _objects(block.text):
            json.loads(text)


def _objects(text: str) -> list[str]:
    """One object, or an object a line."""
    try:
        json.loads(text)
    except ValueError:
        return [line for line in text.splitlines() if line.strip()]
    return [text]


def _toml(block: Block, folder: Path) -> None:
    table = tomllib.loads(block.text)
    path = folder / f"block-{block.line}.toml"
    path.write_text(block.text, "utf-8")
    if not table:  # a comment for editors
        schema = block.text.removeprefix("#:schema ").strip()
        assert (ROOT / "docs" / "schemas" / Path(schema).name).is_file(), block.place
    elif set(table) <= set(TABLES):
        _bench_toml(path)
    elif {"prompt", "messages"} & set(table):
        assert set(table) <= set(fields(TaskFile)), block.place
        FileTask(path)
    elif set(table) <= {*fields(Recipe), "extends"}:
        load_recipe(str(path))
    else:
        groups = table["project"]["entry-points"]
        assert set(groups) <= {TASKS, BACKENDS}, block.place


def _bench_toml(path: Path) -> None:
    settings = load_settings(path)
    for name, own in tomllib.loads(path.read_text("utf-8")).get("backends", {}).items():
        merged: dict[str, Any] = settings.backend(name) | own
        kind: type[msgspec.Struct] = find(BACKENDS, str(merged["kind"])).Settings
        decode_table(merged, kind, f"{path} [backends.{name}]")
    gate_settings(settings.gate, CLASSIFICATION)
