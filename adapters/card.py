"""The model card of a pushed adapter: what it is for, what it rests on, and its figures."""

from harness.adapter import AdapterManifest

TASKS = {"generate": "text-generation", "head": "text-classification"}


def card(manifest: AdapterManifest) -> str:
    """A README.md with the Hub's metadata; `manifest` is the one that is uploaded, without local paths."""
    m = manifest
    on_hub = "/" in m.base
    head = ["---", "library_name: peft", f"pipeline_tag: {TASKS[m.objective]}", "tags:", "- lora", "- bench-harness"]
    head += ["base_model:", f"- {m.base}"] if on_hub else []
    lines = [*head, "---", "", f"# {m.id}", ""]
    lines += [
        f"A LoRA adapter for the task `{m.task}` (version {m.task_version}), trained with Bench. "
        f"It {'answers in words' if m.objective == 'generate' else 'labels by a classification head'}.",
        "",
        f"- base: {m.base}{f' at {m.base_revision}' if m.base_revision else ''} (weights sha256 `{m.base_sha256}`); "
        "its licence applies",
        f"- recipe: {m.recipe_name}, seed {m.seed}, {m.steps:,} steps, {m.tokens:,} tokens, "
        f"{m.device_hours:.3f} device-hours{_price(m)}",
        f"- trained on {m.data.get('rows', 0):,} rows of {m.data.get('source', 'the task')}"
        f"{' (' + m.data['label'] + ')' if m.data.get('label') else ''}; fingerprint `{m.data.get('fingerprint')}`",
        f"- labels: {', '.join(m.labels)}" if m.labels else "- no label set",
        "",
        "## Figures",
        "",
        f"On {m.selection.get('rows', 0):,} rows held back from training, which also chose the checkpoint: no measure "
        "of how it does on new rows. Measure that with `bench run`.",
        "",
        "| metric | value |",
        "| --- | --- |",
        *(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in sorted(m.metrics.items())),
    ]
    claims = m.recipe.get("claims") or []
    if claims:
        lines += ["", "## Published about this case (not measured here)", ""]
        lines += [f"- {c['who']}: {c['metric']} {c['value']:g}" for c in claims]
    lines += [
        "",
        "## Use",
        "",
        "Put this repository's files into a folder and name it: "
        f'`adapter = "FOLDER"` in a `local` backend of `bench.toml`, then `bench run --task {m.task} ..`. '
        "`manifest.json` says how it was made.",
        "",
    ]
    return "\n".join(lines)


def _price(m: AdapterManifest) -> str:
    return "" if m.training_cost_usd is None else f", {m.training_cost_usd:.2f} USD"
