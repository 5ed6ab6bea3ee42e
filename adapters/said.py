"""What a finished training says to people."""

from pathlib import Path

from harness.adapter import AdapterManifest

from .rows import OWN_ROWS


def trained(folder: Path, manifest: AdapterManifest) -> str:
    """A few lines: where the adapter is, what it took, what validation said, and what to type next."""
    data, chosen = manifest.data, manifest.selection
    named = f" ({data['label']})" if data.get("label") else ""
    lines = [
        f"adapter {folder}",
        f"  {data['rows']:,} rows of {data['source']}{named}, {_work(manifest)}{manifest.duration_s:.0f} s",
    ]
    if manifest.training_cost_usd is not None:
        lines.append(f"  {manifest.device_hours:.2f} device-hours, {manifest.training_cost_usd:.2f} USD")
    score = manifest.metrics.get(f"validation_{chosen['metric']}") if chosen.get("metric") else None
    if score is not None:
        what = f"checkpoint of step {chosen['step']}" if "step" in chosen else f"C = {chosen['c']:g}"
        lines.append(f"  {chosen['metric']} {score:.3f} on {chosen['rows']:,} rows held back from training ({what})")
    where = f" --data {data['source']}" if data["source"] != OWN_ROWS else ""
    where += f" --prompt {manifest.prompt['file']}" if manifest.prompt else ""
    if manifest.objective == "tfidf":
        lines.append(f"next: bench run --task {manifest.task} --backends tfidf,llama-ft{where}")
    else:
        backends = f"--backends llama-base,llama-ft --base {manifest.base}"
        lines.append(f"next: bench run --task {manifest.task} {backends}{where}")
    return "\n".join(lines)


def _work(manifest: AdapterManifest) -> str:
    return f"{manifest.steps:,} steps, {manifest.tokens:,} tokens, " if manifest.steps else ""
