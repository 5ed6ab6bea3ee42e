"""Monitoring a hosted job: its events, a progress display, and its end."""

import asyncio
import re
from typing import Any, NamedTuple

from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.adapters.hosted.job_state import ENDED, LOST, JobState
from harness.adapters.hosted.provider_client import Provider
from harness.errors import IncompleteRunError

STEP = re.compile(r"[Ss]tep (\d+)(?:\s*/\s*(\d+))?")
FIGURES = {"train_loss": "loss", "valid_loss": "eval_loss", "full_valid_loss": "eval_full_loss"}
"""The provider's name of a figure -> its name in history.json (as in local training)."""


class JobProgress(NamedTuple):
    """One step's figures. total: steps of the whole job, None where it does not say."""

    step: int
    total: int | None
    figures: dict[str, float]


async def events_since(provider: Provider, job_id: str, last: str | None) -> list[FineTuningJobEvent]:
    """Events that came after the one with id `last` (None: all), oldest first; none from a server without them."""

    async def newest_first() -> list[FineTuningJobEvent]:
        found: list[FineTuningJobEvent] = []
        async for event in provider.client.fine_tuning.jobs.list_events(job_id, limit=100):
            if event.id == last:
                break
            found.append(event)
        return found

    none: list[FineTuningJobEvent] = []
    return (await provider.offered(newest_first, f"reading the events of job {job_id}", none))[::-1]


def progress_of(event: FineTuningJobEvent) -> JobProgress | None:
    """The figures of an event; None for one without any."""
    data: dict[str, Any] = event.data if isinstance(event.data, dict) else {}
    said = STEP.search(event.message or "")
    step, total = data.get("step"), data.get("total_steps")
    if said is not None:
        step = said[1] if step is None else step
        total = said[2] if total is None else total
    figures = {name: value for key, name in FIGURES.items() if (value := _number(data.get(key))) is not None}
    number = _number(step)
    if number is None or (said is None and not figures):
        return None
    most = _number(total)
    return JobProgress(int(number), None if most is None else int(most), figures)


def history_of(events: list[FineTuningJobEvent]) -> list[dict[str, float]]:
    """Figures by step, in the shape of `history.json`."""
    found = (progress_of(event) for event in events)
    return [{"step": p.step, **p.figures} for p in found if p is not None and p.figures]


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e15 else None  # no NaN, no infinity: history.json is JSON


class JobDisplay:
    """Terminal output while a job is followed. All its input has been sanitized."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status = ""
        self._told = 0
        self._bar: Progress | None = None
        self._row: Any = None

    def __enter__(self) -> "JobDisplay":
        if self.console.is_terminal and not self.console.quiet:
            columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
            self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console)
            self._row = self._bar.add_task("", total=None, words="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def status(self, job_id: str, status: str) -> None:
        """The job's own word for where it is."""
        if status == self._status:
            return
        self._status = status
        if self._bar is not None:
            self._bar.update(self._row, words=status)
        self.message(f"job {job_id}: {status}.")

    def message(self, text: str) -> None:
        """A line of its own."""
        self.console.print(f"bench: {text}", markup=False, highlight=False, soft_wrap=True)

    def step(self, step: JobProgress) -> None:
        """Move the bar, or print a line for every tenth."""
        words = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in step.figures.items())
        if self._bar is not None:
            self._bar.update(self._row, completed=step.step, total=step.total, words=words or self._status)
        elif step.total and step.step * 10 // step.total > self._told:
            self._told = step.step * 10 // step.total
            self.message(f"training: step {step.step}/{step.total}{f', {words}' if words else ''}")


async def follow(provider: Provider, notebook: JobState, job: FineTuningJob, display: JobDisplay) -> FineTuningJob:
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


async def _show_events(provider: Provider, notebook: JobState, job_id: str, display: JobDisplay) -> None:
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
