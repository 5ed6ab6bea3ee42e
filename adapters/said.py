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
        f"  {data['rows']:,} rows of {data['source']}{named}, {manifest.steps:,} steps, {manifest.tokens:,} tokens, "
        f"{manifest.duration_s:.0f} s",
    ]
    if manifest.training_cost_usd is not None:
        lines.append(f"  {manifest.device_hours:.2f} device-hours, {manifest.training_cost_usd:.2f} USD")
    score = manifest.metrics.get(f"validation_{chosen['metric']}") if chosen.get("metric") else None
    if score is not None:
        lines.append(
            f"  {chosen['metric']} {score:.3f} on {chosen['rows']:,} rows held back from training "
            f"(checkpoint of step {chosen['step']})"
        )
    where = f" --data {data['source']}" if data["source"] != OWN_ROWS else ""
    lines.append(f"next: bench run --task {manifest.task} --backends llama-base,llama-ft --base {manifest.base}{where}")
    return "\n".join(lines)
