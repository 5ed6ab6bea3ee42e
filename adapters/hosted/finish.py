"""A job that has succeeded becomes an adapter: manifest, row hashes, history; its weights stay at the provider."""

from pathlib import Path
from typing import Any

from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from harness import hardware
from harness.adapter import AdapterManifest, HostedTraining
from harness.files import write_json
from harness.money.prices import MILLION
from harness.prompting.prompted import prompt_of
from harness.workspace import Workspace

from ..keep import Place, data_facts, plain, selection_facts, write_rows
from .events import history_of
from .prepare import Prepared


def keep(
    job: Prepared, done: FineTuningJob, events: list[FineTuningJobEvent], workspace: Workspace
) -> tuple[Path, AdapterManifest]:
    """Write the adapter, whole or not at all, and mark it current (unless it goes to --out)."""
    where = Place.make(job.options, job.task, workspace)
    history = history_of(events)
    write_rows(where.aside, job.task, job.rows)
    write_json(where.aside / "history.json", history)
    manifest = _manifest(job, done, history, where)
    return where.folder, where.settle(manifest, workspace, current=job.options.out is None)


def hosted_facts(job: Prepared, done: FineTuningJob) -> HostedTraining:
    """What the provider did and chose, and its price by the list."""
    method: Any = getattr(done, "method", None)
    own: Any = getattr(getattr(method, "supervised", None), "hyperparameters", None)
    older: Any = getattr(done, "hyperparameters", None)

    def chosen(name: str) -> Any:
        values = (getattr(own, name, None), getattr(older, name, None))
        return next((v for v in values if isinstance(v, int | float)), None)

    tokens, usd = getattr(done, "trained_tokens", None), job.price.usd_per_million
    epochs = chosen("n_epochs")
    return HostedTraining(
        base_url=job.recipe.url,
        job=done.id,
        training_file=getattr(done, "training_file", None),
        validation_file=getattr(done, "validation_file", None),
        trained_tokens=tokens,
        epochs=None if epochs is None else int(epochs),
        batch=chosen("batch_size"),
        learning_rate_multiplier=chosen("learning_rate_multiplier"),
        usd_per_million=usd,
        price_as_of=job.price.as_of,
        cost_usd=None if usd is None or tokens is None else tokens * usd / MILLION,
    )


def _manifest(job: Prepared, done: FineTuningJob, history: list[dict[str, float]], where: Place) -> AdapterManifest:
    hosted = hosted_facts(job, done)
    made, ended = getattr(done, "created_at", None), getattr(done, "finished_at", None)
    last: dict[str, float] = {}
    for step in history:
        last |= step
    names = {"training_loss": "loss", "validation_loss": "eval_loss", "validation_full_loss": "eval_full_loss"}
    return AdapterManifest(
        id=where.id,
        task=job.task.name,
        task_version=job.task.version,
        base=job.recipe.model,
        objective="hosted",
        decode="generate",
        labels=job.task.labels,
        recipe_name=job.recipe_name,
        recipe=plain(job.recipe),
        data=data_facts(job.options, job.rows, len(job.train.rows), job.rows.remarks),
        selection={**selection_facts(job.options, job.rows, len(job.held.rows)), "metric": None},
        seed=int(getattr(done, "seed", None) or job.recipe.seed),
        steps=int(last.get("step", 0)),
        tokens=hosted.trained_tokens or 0,
        created=where.created.isoformat(timespec="seconds"),
        duration_s=float(max(0, ended - made)) if made and ended else 0.0,
        metrics={name: last[key] for name, key in names.items() if key in last},
        versions=hardware.versions(),
        prompt=prompt_of(job.task),
        model=done.fine_tuned_model,
        hosted=hosted,
    )
