"""gate.json keeps its published schema (tests/docs/test_reference.py holds the schema to the record)."""

import json
from pathlib import Path

import msgspec
from jsonschema import Draft202012Validator

from tests.gate.building import judged, right_but, runs, shifted

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "gate.schema.json"


def test_a_gate_keeps_it(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted(2)))
    result = judged(tmp_path, run, baseline, table={"accuracy": {"margin": 0.02}, "cost_per_1000": {"ratio": 1.1}})
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(msgspec.json.encode(result)))
