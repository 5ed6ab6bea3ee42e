"""`bench train --dry-run`: rows, tokens, steps, memory and time, of one training or of a sweep."""

import time
from collections.abc import Iterator
from dataclasses import replace
from textwrap import wrap
from typing import Any, NamedTuple

import msgspec
import torch

from harness.adapters import distributed
from harness.adapters.lora_training import PreparedTraining, prepare
from harness.adapters.memory_estimate import sizes
from harness.adapters.report_samples import SHOWN, target_of
from harness.adapters.shared_prefix import computed_tokens
from harness.adapters.sweep import Point, SweepPlan, plan_group
from harness.adapters.text_summary import columns, shown
from harness.adapters.train_options import TrainOptions
from harness.adapters.training_examples import GroupedByLength, padding_share
from harness.adapters.training_rows import Rows
from harness.backends.local.weight_loading import DTYPES

WIDTH = 100
LONGEST = 600
"""Most characters of a line of settings, and of a prompt, that are shown."""

NOT_SHOWN = ("about", "base", "claims", "tfidf")


class DryRun(NamedTuple):
    """What would happen: as JSON, and as text."""

    record: dict[str, Any]
    text: str


def dry_run(options: TrainOptions, rows: Rows | None = None) -> DryRun:
    """Resolve and read everything, load and train nothing. Raises UsageError as the training itself would."""
    job = prepare(options, rows)
    lengths = [e.tokens for e in job.train]
    batch = job.recipe.batch
    order = list(GroupedByLength(lengths, batch * job.recipe.accumulate, job.recipe.seed))
    rows_seen = min(job.steps * batch * job.recipe.accumulate, round(len(lengths) * job.recipe.epochs))
    tokens = round(sum(lengths) / len(lengths) * rows_seen)
    padding = padding_share(lengths, batch, order)
    computed = round(tokens / (1 - padding))
    if job.recipe.objective == "generate":
        micro_batch = distributed.share(job.recipe).batch
        computed = round(computed_tokens(job.train, order, micro_batch) / len(lengths) * rows_seen)
    size = sizes(job.files, job.recipe, len(job.task.labels))
    memory = job.memory(size)
    ordered = sorted(lengths)
    record: dict[str, Any] = {
        "task": job.task.name,
        "base": job.files.name,
        "recipe_name": job.recipe_name,
        "recipe": msgspec.to_builtins(job.recipe),
        "rows": {"training": len(job.train), "validation": len(job.held)},
        "row_tokens": {"median": ordered[len(ordered) // 2], "longest": ordered[-1]},
        "padding_share": round(padding, 4),
        "steps": job.steps,
        "tokens": tokens,
        "computed_tokens": computed,
        "weights": size.weights,
        "trained_weights": size.trained,
        "device": job.placement.device,
        "memory_bytes": memory,
        "seconds": round(4 * size.weights * computed / _flops_per_s(job), 1),
        "examples": [
            msgspec.to_builtins(target_of(job.train[n], job.tokenizer, job.task.labels)) for n in order[:SHOWN]
        ],
        "remarks": job.remarks,
    }
    return DryRun(record, _text(record))


def _flops_per_s(job: PreparedTraining) -> float:
    """What a training reaches here: four tenths of what a plain matrix product of the same type does."""
    if job.placement.threads:
        torch.set_num_threads(job.placement.threads)
    device, side = job.placement.device, 512 if job.placement.device == "cpu" else 4096
    a = torch.ones(side, side, dtype=DTYPES[job.placement.dtype], device=device)
    torch.mm(a, a)
    begun, products = time.perf_counter(), 0
    while time.perf_counter() - begun < 0.2:
        float(torch.mm(a, a)[0, 0])  # reading a number waits for the device
        products += 1
    return 0.4 * products * 2 * side**3 / (time.perf_counter() - begun)


def _text(record: dict[str, Any]) -> str:
    memory, rows, lengths = record["memory_bytes"], record["rows"], record["row_tokens"]
    settings = ", ".join(_settings(record["recipe"]))
    lines = [
        f"base {record['base']}: {record['weights']:,} weights, {record['trained_weights']:,} of them trained",
        f"rows: {rows['training']:,} for training, {rows['validation']:,} held back from them for validation",
        f"tokens: {record['tokens']:,} in {record['steps']:,} steps; a row has {lengths['median']} (median) to "
        f"{lengths['longest']}; {_computed(record)}",
        f"memory on {record['device']}: about {memory['total'] / 2**20:,.0f} MiB "
        f"(base {memory['base'] / 2**20:,.0f}, adapter {memory['adapter'] / 2**20:,.0f}, "
        f"activations {memory['activations'] / 2**20:,.0f}, logits {memory['logits'] / 2**20:,.0f})",
        f"time: about {record['seconds']:,.0f} s here, validation aside (a rough estimate)",
        *(f"note: {remark}" for remark in record["remarks"]),
        *wrap(f"recipe {record['recipe_name']}: {settings}", WIDTH, subsequent_indent="  "),
    ]
    example = [f"--- read:\n{_clipped(e['read'])}\n--- learned: {e['learned']!r}" for e in record["examples"][:1]]
    return "\n".join([*lines, *example, "(--json: all settings and more examples)"])


def _computed(record: dict[str, Any]) -> str:
    if record["computed_tokens"] < record["tokens"]:
        return f"{record['computed_tokens']:,} computed, since rows of a batch share their first tokens"
    return f"{record['padding_share']:.1%} padding"


def _settings(recipe: dict[str, Any], under: str = "") -> Iterator[str]:
    """The settings of a recipe as they are typed after --set; those left to the base or of other trainings aside."""
    for key, value in recipe.items():
        if value is None or (not under and key in NOT_SHOWN):
            continue
        if isinstance(value, dict):
            yield from _settings(value, f"{under}{key}.")
        else:
            yield f"{under}{key}={str(value).lower() if isinstance(value, bool) else shown(value)}"


def _clipped(text: str) -> str:
    """The beginning of a prompt, and its end: what is learned follows on it."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} [..] {text[-LONGEST // 2 :]}"


def sweep_dry_run(options: TrainOptions, sweeps: tuple[str, ...], seeds: int) -> DryRun:
    """Resolve everything and read the rows. Raises UsageError as the trainings themselves would."""
    plan = plan_group(options, sweeps, seeds)
    took: dict[str, dict[str, Any]] = {}  # the seeds of a point take the same
    for point, rows in zip(plan.points, plan.rows, strict=True):
        if str(point.settings) not in took:
            took[str(point.settings)] = dry_run(replace(options, overrides=point.overrides), rows).record
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
    return DryRun(record, _sweep_text(record, plan))


def _training(point: Point, record: dict[str, Any]) -> dict[str, Any]:
    taken = {key: record[key] for key in ("steps", "tokens", "seconds")}
    return {"number": point.number, "settings": point.settings, "seed": point.seed, **taken}


def _sweep_text(record: dict[str, Any], plan: SweepPlan) -> str:
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
