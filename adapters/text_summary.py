"""The text that a finished training prints."""

from pathlib import Path
from typing import Any

from harness.adapter_group import Candidate, Group
from harness.adapter_manifest import OWN_ROWS, AdapterManifest, HostedTraining
from harness.backends.openai.openai_settings import OPENAI_URL
from harness.text_format import count_noun
from harness.training_record import constant_line, validation_findings


def hosted_summary(folder: Path, manifest: AdapterManifest, hosted: HostedTraining, task: str | None = None) -> str:
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
    tokens = f"{hosted.trained_tokens:,}" if hosted.trained_tokens is not None else "an unknown number of"
    return f"{epochs}, {tokens} trained tokens, job {hosted.job}"


def cost(hosted: HostedTraining) -> str:
    """The list price of what was trained."""
    if hosted.cost_usd is None:
        return "price unknown"
    dated = f", price table of {hosted.price_as_of}" if hosted.price_as_of else ""
    return f"{hosted.cost_usd:.2f} USD ({hosted.usd_per_million:g} USD a million{dated})"


def training_summary(folder: Path, manifest: AdapterManifest, task: str | None = None) -> str:
    """A few lines: where the adapter is, what it took, what validation said, and what to type next.

    task: as it was typed (a task of one's own is found by its file, not by its name); else the manifest's.
    """
    if manifest.hosted is not None:
        return hosted_summary(folder, manifest, manifest.hosted, task)
    data, chosen = manifest.data, manifest.selection
    named = f" ({data['label']})" if data.get("label") else ""
    lines = [
        f"adapter {folder}",
        f"  {count_noun(data['rows'], 'row')} of {data['source']}{named}, {_work(manifest)}{manifest.duration_s:.0f} s",
    ]
    if manifest.training_cost_usd is not None:
        lines.append(f"  {manifest.device_hours:.2f} device-hours, {manifest.training_cost_usd:.2f} USD")
    score = manifest.metrics.get(f"validation_{chosen['metric']}") if chosen.get("metric") else None
    if score is not None:
        what = f"checkpoint of step {chosen['step']}" if "step" in chosen else f"C = {chosen['c']:g}"
        constant = constant_line(manifest)
        beside = f"; {constant}" if constant else ""
        held = f"{count_noun(chosen['rows'], 'row')} held back from training ({what})"
        lines.append(f"  {chosen['metric']} {score:.3f} on {held}{beside}")
    lines += [f"  ! {finding}" for finding in validation_findings(manifest)]
    where = f" --data {_evaluated(str(data['source']))}" if data["source"] != OWN_ROWS else ""
    where += f" --prompt {manifest.prompt['file']}" if manifest.prompt else ""
    if manifest.objective == "tfidf":
        lines.append(f"next: bench run --task {task or manifest.task} --backends tfidf{where}")
    else:
        backends = f"--backends llama-base,llama-ft --base {manifest.base}"
        lines.append(f"next: bench run --task {task or manifest.task} {backends}{where}")
    return "\n".join(lines)


def _evaluated(source: str) -> str:
    """What to evaluate on: the folder that was trained on has a test split; a single file was trained on as a whole."""
    return "OTHER" if Path(source).is_file() else source


def _work(manifest: AdapterManifest) -> str:
    return f"{manifest.steps:,} steps, {manifest.tokens:,} tokens, " if manifest.steps else ""


def ranked(group: Group) -> str:
    """What a group tried, ranked, and how far seeds alone move the score."""
    count = f"{group.tried} trainings" if group.swept else f"{len(group.seeds)} seeds"
    lines = [f"{count}, ranked by {group.metric} on {group.rows:,} validation rows taken from the training split:"]
    lines += _candidates(group) if group.swept else _seeds(group)
    lines += [f"  spread over seeds: {spread(group.candidates[0])}"] if len(group.seeds) > 1 else []
    failed = [t for c in group.candidates for t in c.trainings if t.failed]
    lines += [f"  training {t.number} was aborted: {t.failed}" for t in failed]
    return "\n".join([*lines, group.caution()])


def spread(candidate: Candidate) -> str:
    """`mean 0.940, sd 0.010, 0.930 to 0.950, 95 % interval of the mean [0.915, 0.965] (..)`."""
    scores = [t for t in candidate.trainings if t.score is not None]
    if candidate.mean is None or len(scores) < 2:
        return "unknown: fewer than two seeds finished"
    if candidate.low is None:
        return f"mean {candidate.mean:.3f}, all equal: too few for an interval"
    free = len(scores) - 1
    return (
        f"mean {candidate.mean:.3f}, sd {candidate.sd:.3f}, {candidate.least:.3f} to {candidate.most:.3f}, "
        f"95 % interval of the mean [{candidate.low:.3f}, {candidate.high:.3f}] "
        f"(Student's t, {free} degree{'s' if free > 1 else ''} of freedom)"
    )


def _candidates(group: Group) -> list[str]:
    many = len(group.seeds) > 1
    head = ["rank", *group.swept, group.metric, *(["sd", "least", "most"] if many else [])]
    rows = []
    for c in group.candidates:
        figures = [c.mean, *([c.sd, c.least, c.most] if many else [])]
        settings = [shown(c.settings[key]) for key in group.swept]
        rows.append([str(c.rank), *settings, *("-" if f is None else f"{f:.3f}" for f in figures)])
    return columns([head, *rows], words=len(group.swept) + 1)


def _seeds(group: Group) -> list[str]:
    rows = []
    for t in sorted(group.candidates[0].trainings, key=lambda t: t.number):
        current = " (current)" if t.adapter == group.chosen else ""
        rows.append([str(t.seed), f"{t.adapter or '-'}{current}", "-" if t.score is None else f"{t.score:.3f}"])
    return columns([["seed", "adapter", group.metric], *rows], words=2)


def shown(value: Any) -> str:
    """A setting as it is typed."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def columns(rows: list[list[str]], words: int) -> list[str]:
    """Rows of cells as aligned lines; the first `words` columns to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if n < words else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
