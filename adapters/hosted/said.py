"""What a finished hosted training says to people."""

from pathlib import Path

from harness.adapter import AdapterManifest, HostedTraining
from harness.api.settings import OPENAI_URL
from harness.wording import count_noun

from ..rows import OWN_ROWS


def trained(folder: Path, manifest: AdapterManifest, hosted: HostedTraining, task: str | None = None) -> str:
    """Where the adapter is, the model's name, what it took and cost, and what to type next (`task` as it was typed)."""
    data = manifest.data
    named = f" ({data['label']})" if data.get("label") else ""
    where = f" --data {data['source']}" if data["source"] != OWN_ROWS else ""
    where += f" --prompt {manifest.prompt['file']}" if manifest.prompt else ""
    lines = [
        f"adapter {folder}",
        f"  model {manifest.model} at {hosted.base_url}",
        f"  {count_noun(data['rows'], 'row')} of {data['source']}{named}, {work(hosted)}; {cost(hosted)}",
        "next, in bench.toml:",
        *(f"  {line}" for line in backend_table(manifest, hosted)),
        f"then: bench run --task {task or manifest.task} --backends tuned{where}",
    ]
    return "\n".join(lines)


def backend_table(manifest: AdapterManifest, hosted: HostedTraining) -> list[str]:
    """The lines of bench.toml that make the tuned model a backend."""
    lines = ["[backends.tuned]", 'kind = "openai"', f'model = "{manifest.base}"', 'adapter = "auto"']
    if hosted.base_url != OPENAI_URL:
        lines.append(f'base_url = "{hosted.base_url}"')
    if manifest.recipe.get("api_key_env", "OPENAI_API_KEY") != "OPENAI_API_KEY":
        lines.append(f'api_key_env = "{manifest.recipe["api_key_env"]}"')
    return lines


def work(hosted: HostedTraining) -> str:
    """What the provider says it did."""
    epochs = f"{hosted.epochs} epochs" if hosted.epochs is not None else "epochs not told"
    tokens = f"{hosted.trained_tokens:,}" if hosted.trained_tokens is not None else "an untold number of"
    return f"{epochs}, {tokens} trained tokens, job {hosted.job}"


def cost(hosted: HostedTraining) -> str:
    """The list price of what was trained."""
    if hosted.cost_usd is None:
        return "price unknown"
    dated = f", price table of {hosted.price_as_of}" if hosted.price_as_of else ""
    return f"{hosted.cost_usd:.2f} USD ({hosted.usd_per_million:g} USD a million{dated})"
