"""Fine-tuning at a provider: rows and a recipe become a model that stays there, and an adapter that names it."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from rich.console import Console

from harness.adapter import MANIFEST, AdapterManifest, read_manifest
from harness.errors import InterruptedRunError, UsageError
from harness.workspace import Workspace

from ..checkpoints import hold
from ..options import TrainOptions
from .display import JobDisplay
from .events import events_since
from .finish import keep
from .follow import follow
from .job import ENDED, find_job, make_job
from .notes import JobNote, Notebook
from .prepare import Prepared, prepare
from .price import refuse_too_dear, words
from .provider import Provider


class Done(NamedTuple):
    """A job that has succeeded, with all its events, oldest first."""

    job: FineTuningJob
    events: list[FineTuningJobEvent]


def train_hosted(options: TrainOptions, workspace: Workspace, console: Console) -> tuple[Path, AdapterManifest]:
    """Train at the provider, showing its progress on `console`; returns the adapter's folder and manifest.

    A training that was begun is continued by its job; one that is finished is handed back. Raises UsageError,
    IncompleteRunError for a job that did not succeed, InterruptedRunError after Ctrl-C (the job goes on).
    """
    job = prepare(options)
    display = JobDisplay(console)
    for remark in job.remarks:
        display.message(remark)
    work = _work(workspace, job)
    with hold(work):
        notebook = Notebook(work, job.recipe.url)
        earlier = _finished(notebook.note, options)
        if earlier is not None:
            display.message("this very training is finished: nothing is sent or paid; another --seed trains anew.")
            return earlier
        try:
            done = asyncio.run(_carry_out(job, notebook, display, work))
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
    with hold(work):
        notebook = Notebook(work, job.recipe.url)
        return asyncio.run(_cancel(job, notebook))


def _work(workspace: Workspace, job: Prepared) -> Path:
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


async def _carry_out(job: Prepared, notebook: Notebook, display: JobDisplay, work: Path) -> Done:
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


def _before_paying(job: Prepared, display: JobDisplay) -> None:
    """Say the price, and refuse what must not be begun. Raises UsageError."""
    display.message(f"{words(job.price, job.recipe.model)}; nothing is uploaded yet.")
    refuse_too_dear(job.price, job.options.max_cost, job.recipe.model)
    job.refuse_retired()


async def _cancel(job: Prepared, notebook: Notebook) -> str:
    async with Provider(job.recipe) as provider:
        found = await find_job(provider, notebook)
        if found is None:
            raise UsageError("there is no job of this very training to cancel: same task, rows and recipe?")
        name = provider.clean(found.id)
        if found.status in ENDED:
            return f"job {name} has ended already: it is {provider.clean(str(found.status))}."
        after = await provider.call(f"cancelling job {name}", lambda: provider.client.fine_tuning.jobs.cancel(found.id))
        if after.status == "cancelled":
            notebook.end()
        return f"job {name} is {provider.clean(str(after.status))}; what it had trained until then may be billed."


def _how_to_go_on(note: JobNote) -> str:
    if note.token is None:
        return "interrupted before a job was made: nothing is billed; the same command goes on."
    name = f"job {note.job}" if note.job is not None else "the job, if it was made,"
    return (
        f"interrupted; {name} goes on at {note.base_url} and is billed: the same command follows it again, and with "
        "--cancel it ends it."
    )
