"""`bench train --dry-run` of a hosted training: rows, tokens, price and what would be sent, without a call."""

from typing import Any, NamedTuple

import msgspec

from ..options import TrainOptions
from .prepare import Prepared, prepare
from .price import words

SHOWN = 2


class DryRun(NamedTuple):
    """What would happen: for machines, and for people."""

    record: dict[str, Any]
    text: str


def dry_run(options: TrainOptions) -> DryRun:
    """Read, check, count and price everything; send nothing. Raises UsageError as the training itself would."""
    job = prepare(options)
    price, ordered = job.price, sorted(row.tokens for row in job.train.rows)
    record: dict[str, Any] = {
        "task": job.task.name,
        "model": job.recipe.model,
        "base_url": job.recipe.url,
        "recipe_name": job.recipe_name,
        "recipe": msgspec.to_builtins(job.recipe),
        "rows": {"training": len(job.train.rows), "validation": len(job.held.rows)},
        "row_tokens": {"median": ordered[len(ordered) // 2], "longest": ordered[-1]},
        "price": {**msgspec.to_builtins(price), "cost_usd": price.cost, "most_cost_usd": price.most_cost},
        "files": {
            role: {"name": job.filename(role), "bytes": len(file.content), "sha256": file.sha256}
            for role, file in job.files.items()
        },
        "job": job.job_body(),
        "examples": [msgspec.to_builtins(row.messages) for row in job.train.rows[:SHOWN]],
        "remarks": job.remarks,
    }
    return DryRun(record, _text(record, job))


def _text(record: dict[str, Any], job: Prepared) -> str:
    rows, lengths = record["rows"], record["row_tokens"]
    lines = [
        f"recipe {record['recipe_name']}: {record['model']} at {record['base_url']}",
        f"rows: {rows['training']:,} for training, {rows['validation']:,} held back from them for validation",
        f"tokens: a row has {lengths['median']} (median) to {lengths['longest']}",
        f"price: {words(job.price, job.recipe.model)}",
        *(f"file: {file['name']}, {file['bytes']:,} bytes" for file in record["files"].values()),
        f"job: {msgspec.json.encode(record['job']).decode()}",
        *(f"note: {remark}" for remark in record["remarks"]),
    ]
    shown = [msgspec.json.encode({"messages": messages}).decode() for messages in record["examples"]]
    return "\n".join([*lines, *(f"--- line: {line}" for line in shown), "nothing was sent."])
