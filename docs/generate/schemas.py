"""JSON Schemas of the files that people write and machines read."""

from typing import Any

import msgspec

from docs.generate.meanings import meanings, purpose
from docs.generate.settings import backend_settings
from docs.generate.tables import inner_records
from harness.adapters.hosted.hosted_recipe import HostedRecipe
from harness.adapters.recipe import Recipe
from harness.gating.gate_result import GateResult
from harness.gating.gate_settings import GateKeys, Terms
from harness.results import Summary
from harness.settings import builtin_backends
from harness.summary.verdict_settings import VerdictSettings
from harness.task_forms import TaskFile

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """Name -> JSON Schema."""
    return {
        "bench": _bench(),
        "recipe": _recipe(),
        "task": _without_null(schema_of(TaskFile)),
        "summary": schema_of(Summary),
        "gate": schema_of(GateResult),
    }


def schema_of(kind: type[msgspec.Struct]) -> Schema:
    """msgspec's schema of a record, each property with the meaning that the docstring gives it."""
    (top,), parts = msgspec.json.schema_components((kind,), ref_template="#/$defs/{name}")
    return {"$schema": DRAFT, **top, "$defs": _explained(parts, [kind, *inner_records(kind)])}


def _explained(parts: Schema, kinds: list[type[msgspec.Struct]]) -> Schema:
    for kind in kinds:
        parts[kind.__name__]["description"] = purpose(kind)
        for name, said in meanings(kind).items():
            parts[kind.__name__]["properties"][name]["description"] = said
    return parts


def _recipe() -> Schema:
    """A recipe of local training, or one of hosted fine-tuning; what it extends may say which."""
    extends = {"type": "string", "description": "Another recipe that this one starts from: a name, or a file beside."}
    parts: Schema = {}
    for kind in (Recipe, HostedRecipe):
        parts |= _without_null(schema_of(kind))["$defs"]
        own = parts[kind.__name__]
        parts[kind.__name__] = {**own, "properties": {"extends": extends, **own["properties"]}, "required": []}
    local, hosted = {"$ref": "#/$defs/Recipe"}, {"$ref": "#/$defs/HostedRecipe"}
    said = {"properties": {"objective": {"const": "hosted"}}, "required": ["objective"]}
    return {"$schema": DRAFT, "if": said, "then": hosted, "else": {"anyOf": [local, hosted]}, "$defs": parts}


def _bench() -> Schema:
    """`bench.toml`: what a backend may say depends on its `kind`; the built-in names have theirs already."""
    records = backend_settings()
    kinds: list[type[msgspec.Struct]] = [*records.values(), GateKeys, Terms, VerdictSettings]
    _, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    inner = [one for kind in kinds for one in [kind, *inner_records(kind)]]
    parts = _without_null(_explained(parts, inner))
    gate = {**parts.pop("GateKeys"), "title": "gate", "additionalProperties": {"$ref": "#/$defs/Terms"}}
    verdict = {**parts.pop("VerdictSettings"), "title": "verdict", "additionalProperties": False}
    for kind, record in records.items():
        parts[record.__name__]["properties"]["kind"] = {"const": kind}
    other = {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"anyOf": [{"enum": list(records)}, {"pattern": r"^.+:\w+$"}]}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}},
                "then": {"$ref": f"#/$defs/{record.__name__}"},
            }
            for kind, record in records.items()
        ],
    }
    builtin = {name: _or_other(records[str(t["kind"])], str(t["kind"])) for name, t in builtin_backends().items()}
    return {
        "$schema": DRAFT,
        "title": "bench.toml",
        "type": "object",
        "properties": {
            "backends": {"type": "object", "properties": builtin, "additionalProperties": {"$ref": "#/$defs/backend"}},
            "gate": gate,
            "verdict": verdict,
        },
        "additionalProperties": False,
        "$defs": {"backend": other, **{f"{r.__name__}Changed": _changed(parts[r.__name__]) for r in records.values()}}
        | parts,
    }


def _or_other(record: type[msgspec.Struct], kind: str) -> Schema:
    """A table under a built-in name: single keys of its kind, or a whole backend of another kind."""
    return {
        "if": {"properties": {"kind": {"const": kind}}},
        "then": {"$ref": f"#/$defs/{record.__name__}Changed"},
        "else": {"$ref": "#/$defs/backend"},
    }


def _changed(schema: Schema) -> Schema:
    """The same keys, none of them required."""
    return {**schema, "required": []}


def _without_null(schema: Any) -> Any:
    """TOML has no null: a key that may be absent is simply left out."""
    if isinstance(schema, list):
        return [_without_null(one) for one in schema if one != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    return {k: _without_null(v) for k, v in schema.items() if not (k == "default" and v is None)}
