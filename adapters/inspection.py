"""Inspecting trained adapters: showing, checking and removing them."""

import datetime
import shutil
from pathlib import Path

from harness.adapter_manifest import (
    MANIFEST,
    ROWS,
    AdapterManifest,
    find_current,
    learned_rows,
    misfit,
    read_manifest,
    unmark,
    weights_digest,
)
from harness.adapters import text_summary as hosted
from harness.backends.local.base_files import find_base
from harness.data.contamination import SIGNATURES
from harness.errors import UsageError
from harness.peft_folder import WEIGHTS, peft_config
from harness.safetensors_header import read_header
from harness.text_format import count_noun
from harness.text_sanitize import one_line
from harness.workspace import Workspace

LONGEST = 500
"""Characters shown of a line; an adapter from elsewhere may hold anything."""

TRAINS = {
    "generate": "answers",
    "head": "a classification head",
    "tfidf": "a classical baseline",
    "hosted": "answers, at a provider",
}


def described(workspace: Workspace, folder: Path) -> str:
    """An adapter's manifest as text. Raises UsageError for one that Bench did not write."""
    manifest = read_manifest(folder)
    try:
        lines = _described(workspace, folder, manifest)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{folder / MANIFEST} holds what Bench does not write there ({error}).") from None
    width = max(len(key) for key, _ in lines)
    return "\n".join(f"{key.ljust(width)}  {one_line(value, LONGEST)}" for key, value in lines)


def _described(workspace: Workspace, folder: Path, m: AdapterManifest) -> list[tuple[str, str]]:
    made = datetime.datetime.fromisoformat(m.created).strftime("%Y-%m-%d %H:%M UTC") if m.created else "unknown"
    label = f" ({m.data['label']})" if m.data.get("label") else ""
    scores = ", ".join(f"{k.removeprefix('validation_')} {v:.3f}" for k, v in m.metrics.items() if "validation" in k)
    machine = ", ".join(m.hardware.get("gpus", [])) or m.hardware.get("cpu", "an unknown machine")
    held = count_noun(m.selection.get("rows", 0), "row")
    if m.origin == "peft":
        return _described_foreign(workspace, folder, m)
    lines = {
        "adapter": f"{m.id}{' (current)' if is_current(workspace, m) else ''}",
        "task": f"{m.task} (version {m.task_version})",
        "base": f"{m.base}{f' at {m.base_revision[:12]}' if m.base_revision else ''}",
        "trains": f"{TRAINS[m.objective]}, asked by {m.decode}",
        "recipe": f"{m.recipe_name} (seed {m.seed})",
        "rows": f"{m.data.get('rows', 0):,} of {m.data.get('source', '?')}{label}",
        **_work(m, machine),
        "selection": f"{scores or 'no score'} on {held} held back from training",
        "made": made,
        "folder": str(folder),
    }
    claims = [
        f"{c['who']}: {c['metric']} {c['value']:g}{f' on {n:,} rows' if (n := c.get('n')) else ''}"
        for c in m.recipe.get("claims", [])
    ]
    return [*lines.items(), *(("published", claim) for claim in claims)]


def _described_foreign(workspace: Workspace, folder: Path, m: AdapterManifest) -> list[tuple[str, str]]:
    """An adapter that Bench did not train: what its own files say."""
    config = peft_config(folder) or {}
    rank = ", ".join(f"{key} {config[key]}" for key in ("r", "lora_alpha") if key in config)
    known = count_noun(m.data.get("rows", 0), "row")
    lines = {
        "adapter": f"{m.id}{' (current)' if m.task and is_current(workspace, m) else ''}",
        "origin": f"trained elsewhere (PEFT {config.get('peft_version') or 'of unknown version'})",
        "task": m.task or "unknown",
        "base": m.base or "not named",
        "trains": f"{TRAINS[m.objective]}, asked by {m.decode}",
        "kind": f"{config.get('peft_type') or '?'}{f' ({rank})' if rank else ''}",
        "labels": ", ".join(m.labels) or ("not named" if m.objective == "head" else ""),
        "tokenizer": "its own, beside the weights" if m.tokenizer else "the base's",
        "trained on": f"{known} of {m.data['source']}" if m.data.get("source") else "",
        "rows": contamination_note(folder),
        "folder": str(folder),
    }
    return [(key, value) for key, value in lines.items() if value]


def _work(m: AdapterManifest, machine: str) -> dict[str, str]:
    """What the training took and cost, here or at a provider."""
    if m.hosted is not None:
        return {
            "model": f"{m.model} at {m.hosted.base_url}",
            "took": f"{hosted.work(m.hosted)}, {m.duration_s:,.0f} s",
            "cost": hosted.cost(m.hosted),
        }
    price = "price unknown" if m.training_cost_usd is None else f"{m.training_cost_usd:.2f} USD"
    return {
        "took": f"{m.steps:,} steps, {m.tokens:,} tokens, {m.duration_s:,.0f} s on {machine}",
        "cost": f"{m.device_hours:.3f} device-hours, {price}",
    }


def is_current(workspace: Workspace, manifest: AdapterManifest) -> bool:
    """Whether `adapter = "auto"` finds this one."""
    try:
        return find_current(workspace, manifest.task, manifest.base_spec).name == manifest.id
    except UsageError:
        return False


def check(folder: Path) -> list[str]:
    """What is wrong with an adapter, in sentences; empty where it is as it was made and its base is at hand."""
    manifest = read_manifest(folder)
    if manifest.origin == "peft":
        return _check_foreign(folder, manifest)
    unlisted = f"{folder / ROWS} is missing: runs cannot tell whether they evaluate on training rows."
    if manifest.model is not None:  # hosted: its weights are the provider's
        return [unlisted] if learned_rows(folder) is None else []
    wrong = []
    if not (folder / WEIGHTS).is_file():
        return [f"{folder / WEIGHTS} is missing."]
    try:
        read_header(folder / WEIGHTS)
    except UsageError as error:
        wrong.append(str(error))
    if weights_digest(folder) != manifest.adapter_sha256:
        wrong.append(f"{folder / WEIGHTS} is not the file that was trained: its SHA-256 differs from the manifest's.")
    if learned_rows(folder) is None:
        wrong.append(unlisted)
    if manifest.objective == "tfidf":
        return wrong
    try:
        if find_base(manifest.base_spec).sha256() != manifest.base_sha256:
            wrong.append(f"base {manifest.base} has other weights than the ones this adapter was trained on.")
    except UsageError as error:
        wrong.append(str(error))
    return wrong


def _check_foreign(folder: Path, manifest: AdapterManifest) -> list[str]:
    """An adapter that Bench did not train: whether its base is at hand and has its sizes."""
    if not manifest.base:
        return [f"{folder}: its configuration names no base: name it with --base where it is asked."]
    try:
        base = find_base(manifest.base_spec)
        problem = misfit(folder, base.folder)
    except UsageError as error:
        return [str(error)]
    return [] if problem is None else [f"base {manifest.base}: {problem}."]


def contamination_note(folder: Path) -> str:
    """Whether runs can tell that they evaluate on its training rows; "" where they can."""
    if learned_rows(folder) is not None or (folder / SIGNATURES).is_file():
        return ""
    return (
        "contamination unknown: the rows it was trained on are not at hand; name them "
        f"(`bench adapter import {folder} --trained-on FILE`, or --trained-on FILE where it is run)."
    )


def remove(workspace: Workspace, folder: Path) -> None:
    """Take an adapter away; where it was current, no adapter is."""
    folder = folder.resolve()
    unmark(workspace, read_manifest(folder).id)
    gone = folder.with_name(f".gone-{folder.name}")  # renamed first: a kill never leaves half an adapter
    folder.rename(gone)
    shutil.rmtree(gone)
