"""Following a job to its end, and what its end means."""

import asyncio
from typing import Any

from openai.types.fine_tuning import FineTuningJob

from harness.errors import IncompleteRunError

from .display import JobDisplay
from .events import events_since, progress_of
from .job import ENDED, LOST
from .notes import Notebook
from .provider import Provider


async def follow(provider: Provider, notebook: Notebook, job: FineTuningJob, display: JobDisplay) -> FineTuningJob:
    """Show a job's events until it has ended, and return it as it ended.

    Raises IncompleteRunError with the provider's sentence for one that failed or was cancelled; the same command
    then begins another.
    """
    job_id = job.id
    while True:
        await _show_events(provider, notebook, job_id, display)
        display.status(provider.clean(job_id), provider.clean(str(job.status)))
        if job.status in ENDED:
            break
        await asyncio.sleep(provider.recipe.poll_s)
        job = await provider.call(f"following job {job_id}", lambda: provider.client.fine_tuning.jobs.retrieve(job_id))
    if job.status in LOST:
        notebook.end()
        raise IncompleteRunError(
            f"job {provider.clean(job_id)} {'failed' if job.status == 'failed' else 'was cancelled'}"
            f"{_why(provider, job)}; the same command begins another (uploaded files are used again)."
        )
    if not job.fine_tuned_model:
        raise IncompleteRunError(f"job {provider.clean(job_id)} has succeeded but names no model: ask its provider.")
    return job


async def _show_events(provider: Provider, notebook: Notebook, job_id: str, display: JobDisplay) -> None:
    events = await events_since(provider, job_id, notebook.note.last_event)
    for event in events:
        step = progress_of(event)
        if step is not None:
            display.step(step)
        else:
            display.message(f"provider: {provider.clean(str(event.message))}")
    if events:
        notebook.change(last_event=events[-1].id)


def _why(provider: Provider, job: FineTuningJob) -> str:
    error: Any = getattr(job, "error", None)
    message, code = getattr(error, "message", None), getattr(error, "code", None)
    said = message or code
    return f": {provider.clean(str(said)).rstrip('.')}" if said else ""
