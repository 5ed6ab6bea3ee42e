"""Hosted fine-tuning: from rows and a recipe to an adapter that stays at the provider."""

from pathlib import Path
from typing import Any, NamedTuple

from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from rich.console import Console

from harness import hardware
from harness.adapter_manifest import MANIFEST, AdapterManifest, HostedTraining, read_manifest
from harness.adapters.hosted.hosted_job import (
    ENDED,
    JobDisplay,
    JobNote,
    JobState,
    events_since,
    find_job,
    follow,
    history_of,
    make_job,
)
from harness.adapters.hosted.preparation import HostedPreparation, prepare, refuse_too_dear, words
from harness.adapters.hosted.provider_client import Provider
from harness.adapters.saving import (
    AdapterDestination,
    data_facts,
    lock_training_folder,
    plain,
    selection_facts,
    write_rows,
)
from harness.adapters.train_options import TrainOptions
from harness.errors import InterruptedRunError, UsageError
from harness.execution.event_loop import run_coroutine
from harness.files import write_json
from harness.money.prices import MILLION
from harness.prompting.prompt_variants import prompt_of
from harness.workspace import Workspace


def keep(
    job: HostedPreparation, done: FineTuningJob, events: list[FineTuningJobEvent], workspace: Workspace
) -> tuple[Path, AdapterManifest]:
    """Write the adapter, whole or not at all, and mark it current (unless it goes to --out)."""
    where = AdapterDestination.make(job.options, job.task, workspace)
    history = history_of(events)
    write_rows(where.aside, job.task, job.rows)
    write_json(where.aside / "history.json", history)
    manifest = _manifest(job, done, history, where)
    return where.folder, where.settle(manifest, workspace, current=job.options.out is None)


def hosted_facts(job: HostedPreparation, done: FineTuningJob) -> HostedTraining:
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


def _manifest(
    job: HostedPreparation, done: FineTuningJob, history: list[dict[str, float]], where: AdapterDestination
) -> AdapterManifest:
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


class Done(NamedTuple):
    """A job that has succeeded, with all its events, oldest first."""

    job: FineTuningJob
    events: list[FineTuningJobEvent]


def train_hosted(options: TrainOptions, workspace: Workspace, console: Console) -> tuple[Path, AdapterManifest]:
    """Train at the provider, showing its progress on `console`; returns the adapter's folder and manifest.

    A training that was begun is continued by its job; one that is finished is handed back. Raises UsageError,
    IncompleteRunError for a job that did not succeed, InterruptedRunError after Ctrl-C (the job continues).
    """
    job = prepare(options)
    display = JobDisplay(console)
    for remark in job.remarks:
        display.message(remark)
    work = _work(workspace, job)
    with lock_training_folder(work):
        notebook = JobState(work, job.recipe.url)
        earlier = _finished(notebook.note, options)
        if earlier is not None:
            display.message("this training is already finished: nothing is sent or paid; another --seed trains again.")
            return earlier
        try:
            done = run_coroutine(_carry_out(job, notebook, display, work))
        except KeyboardInterrupt:
            raise InterruptedRunError(_how_to_go_on(notebook.note)) from None
        folder, manifest = keep(job, done.job, done.events, workspace)
        notebook.change(adapter=str(folder.resolve()))
        for role in job.files:
            (work / job.filename(role)).unlink(missing_ok=True)
    return folder, manifest


def cancel_hosted(options: TrainOptions, workspace: Workspace) -> str:
    """Cancel the job of a training that was begun; returns a sentence. Raises UsageError where there is none."""
    job = prepare(options)
    work = _work(workspace, job)
    with lock_training_folder(work):
        notebook = JobState(work, job.recipe.url)
        return run_coroutine(_cancel(job, notebook))


def _work(workspace: Workspace, job: HostedPreparation) -> Path:
    return workspace.adapters / f".training-{job.key()}"


def _finished(note: JobNote, options: TrainOptions) -> tuple[Path, AdapterManifest] | None:
    """The adapter that this training has already become, where it still lies there and is not wanted elsewhere."""
    folder = Path(note.adapter) if note.adapter is not None else None
    if folder is None or not (folder / MANIFEST).is_file():
        return None
    if options.out is not None and options.out.resolve() != folder:
        return None
    manifest = read_manifest(folder)
    return (folder, manifest) if manifest.hosted is not None and manifest.hosted.job == note.job else None


async def _carry_out(job: HostedPreparation, notebook: JobState, display: JobDisplay, work: Path) -> Done:
    if notebook.note.token is None:
        _before_paying(job, display)
    async with Provider(job.recipe) as provider:
        if notebook.note.token is None:
            await provider.greet()
            found = None
        else:
            found = await find_job(provider, notebook)
            if found is None:
                _before_paying(job, display)
        if found is None:
            for role, file in job.files.items():
                (work / job.filename(role)).write_bytes(file.content)
            found = await make_job(provider, notebook, job, display.message)
        else:
            display.message(f"continuing with job {provider.clean(found.id)}; nothing is uploaded or paid again.")
        with display:
            ended = await follow(provider, notebook, found, display)
        return Done(ended, await events_since(provider, ended.id, None))


def _before_paying(job: HostedPreparation, display: JobDisplay) -> None:
    """Say the price, and refuse what must not be begun. Raises UsageError."""
    display.message(f"{words(job.price, job.recipe.model)}; nothing has been uploaded.")
    refuse_too_dear(job.price, job.options.max_cost, job.recipe.model)
    job.refuse_retired()


async def _cancel(job: HostedPreparation, notebook: JobState) -> str:
    async with Provider(job.recipe) as provider:
        found = await find_job(provider, notebook)
        if found is None:
            raise UsageError("there is no job of this training to cancel: same task, rows and recipe?")
        name = provider.clean(found.id)
        if found.status in ENDED:
            return f"job {name} has ended already: it is {provider.clean(str(found.status))}."
        after = await provider.call(f"cancelling job {name}", lambda: provider.client.fine_tuning.jobs.cancel(found.id))
        if after.status == "cancelled":
            notebook.end()
        return f"job {name} is {provider.clean(str(after.status))}; what it had trained until then may be billed."


def _how_to_go_on(note: JobNote) -> str:
    if note.token is None:
        return "interrupted before a job was made: nothing is billed; the same command continues."
    name = f"job {note.job}" if note.job is not None else "the job, if it was made,"
    return (
        f"interrupted; {name} goes on at {note.base_url} and is billed: the same command follows it again, and with "
        "--cancel it ends it."
    )
