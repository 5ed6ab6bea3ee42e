"""`bench train --dry-run` of a group: its trainings, with steps and time, and nothing trained."""

from dataclasses import replace
from typing import Any

from .dry_run import DryRun
from .dry_run import dry_run as one
from .grid import Point
from .group import Plan, plan_group
from .options import TrainOptions
from .said import columns, shown


def dry_run(options: TrainOptions, sweeps: tuple[str, ...], seeds: int) -> DryRun:
    """Resolve everything and read the rows. Raises UsageError as the trainings themselves would."""
    plan = plan_group(options, sweeps, seeds)
    took: dict[str, dict[str, Any]] = {}  # the seeds of a point take the same
    for point, rows in zip(plan.points, plan.rows, strict=True):
        if str(point.settings) not in took:
            took[str(point.settings)] = one(replace(options, overrides=point.overrides), rows).record
    trainings = [_training(point, took[str(point.settings)]) for point in plan.points]
    first = took[str(plan.points[0].settings)]
    record = {
        "task": first["task"],
        "base": first["base"],
        "recipe_name": first["recipe_name"],
        "metric": plan.metric.name,
        "validation_rows": len(plan.rows[0].validation),
        "trainings": trainings,
        "steps": sum(t["steps"] for t in trainings),
        "seconds": round(sum(t["seconds"] for t in trainings), 1),
        "device": first["device"],
        "remarks": first["remarks"],
    }
    return DryRun(record, _text(record, plan))


def _training(point: Point, record: dict[str, Any]) -> dict[str, Any]:
    taken = {key: record[key] for key in ("steps", "tokens", "seconds")}
    return {"number": point.number, "settings": point.settings, "seed": point.seed, **taken}


def _text(record: dict[str, Any], plan: Plan) -> str:
    swept = list(plan.points[0].settings)
    rows = []
    for t in record["trainings"]:
        figures = (f"{t['steps']:,}", f"{t['tokens']:,}", f"{t['seconds']:,.0f} s")
        rows.append([str(t["number"]), *(shown(t["settings"][key]) for key in swept), str(t["seed"]), *figures])
    return "\n".join(
        [
            f"recipe {record['recipe_name']} on base {record['base']}, {len(rows)} trainings, one after the other:",
            *columns([["no.", *swept, "seed", "steps", "tokens", "about"], *rows], words=len(swept) + 1),
            f"together: {record['steps']:,} steps, about {record['seconds']:,.0f} s on {record['device']}, validation "
            "aside (a rough estimate)",
            f"ranked by {record['metric']} on {record['validation_rows']:,} validation rows carved from the training "
            "split, the same for all",
            *(f"note: {remark}" for remark in record["remarks"]),
        ]
    )
