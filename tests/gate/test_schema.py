"""gate.json has a published schema, and it is the one that is written."""

import json
from pathlib import Path

import msgspec
from jsonschema import Draft202012Validator

from harness.gate.records import GateResult
from tests.gate.building import judged, right_but, runs, shifted

SCHEMA = Path(__file__).parents[2] / "docs" / "gate.schema.json"


def test_the_published_schema_is_that_of_the_record() -> None:

    made = msgspec.json.format(msgspec.json.encode(msgspec.json.schema(GateResult)), indent=2) + b"\n"
    assert SCHEMA.read_bytes() == made, f"write the new schema to {SCHEMA} and raise SCHEMA in harness/gate/records.py"


def test_a_gate_keeps_it(tmp_path: Path) -> None:
    run, baseline = runs(tmp_path, right_but(*shifted(2)))
    result = judged(tmp_path, run, baseline, table={"accuracy": {"margin": 0.02}, "cost_per_1000": {"ratio": 1.1}})
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(msgspec.json.encode(result)))
