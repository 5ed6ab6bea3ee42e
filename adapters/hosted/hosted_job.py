"""A hosted job: its state across a kill, its events, a progress display, and its end."""

import asyncio
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import openai
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.adapters.hosted.preparation import HostedPreparation
from harness.adapters.hosted.provider_client import MAKING, UPLOAD_S, Provider
from harness.errors import IncompleteRunError
from harness.files import read_record, write_json
from harness.records import Record

SCHEMA = 1
NOTE = "job.json"


class JobNote(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One training at a provider.

    files: role ("training", "validation") -> id of the uploaded file; uploading: roles whose upload was begun
    (it may have succeeded although no id is noted). token: the job's metadata, noted before the job is made;
    job: its id. ended: jobs of this training that failed or were cancelled. last_event: id of the newest event
    shown. adapter: the folder of the finished adapter.
    """

    schema: int = SCHEMA
    base_url: str
    files: dict[str, str] = {}
    uploading: tuple[str, ...] = ()
    token: str | None = None
    job: str | None = None
    ended: tuple[str, ...] = ()
    last_event: str | None = None
    adapter: str | None = None


class JobState:
    """The note of one training, on disk after every change."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.path = folder / NOTE
        self.note = self._read() or JobNote(base_url=base_url)

    def _read(self) -> JobNote | None:
        if not self.path.is_file():
            return None
        advice = "look up the job at its provider before you remove it, or it may be paid twice"
        return read_record(self.path, JobNote, "job state", advice)

    def change(self, **fields: object) -> None:
        """Write the note with some fields replaced."""
        self.note = msgspec.structs.replace(self.note, **fields)
        write_json(self.path, self.note)

    def end(self) -> None:
        """The job has failed or was cancelled: the same command may begin another."""
        if self.note.job is not None:
            ended = (*self.note.ended, self.note.job)
            self.change(ended=ended, job=None, token=None, last_event=None)


TOKEN = "bench_training"
"""The key of the job's metadata by which it is found again."""
ENDED = ("succeeded", "failed", "cancelled")
"""Any other status, known or not: the job is running."""
LOST = ("failed", "cancelled")


async def find_job(provider: Provider, notebook: JobState) -> FineTuningJob | None:
    """The job of a training that was begun: by its id, else by its token or its training file. None: not made."""
    note, jobs = notebook.note, provider.client.fine_tuning.jobs
    if note.job is not None:
        known = note.job
        return await provider.call(f"looking at job {known}", lambda: jobs.retrieve(known))
    if note.token is None:
        return None
    found = await provider.call("looking for the job", lambda: _look_up(provider, notebook))
    if found is not None:
        notebook.change(job=found.id)
    return found


async def _look_up(provider: Provider, notebook: JobState) -> FineTuningJob | None:
    note = notebook.note
    async for job in provider.client.fine_tuning.jobs.list(limit=100):
        told = (getattr(job, "metadata", None) or {}).get(TOKEN)
        ours = told == note.token if told is not None else job.training_file == note.files.get("training")
        if ours and job.id not in note.ended:
            return job
    return None


async def make_job(
    provider: Provider, notebook: JobState, job: HostedPreparation, tell: Callable[[str], None]
) -> FineTuningJob:
    """Upload what is not there yet, and make the job. Nothing is sent twice, whenever a kill came."""
    for role in job.files:
        if role not in notebook.note.files:
            file_id = await _upload(provider, notebook, job, role)
            notebook.change(files={**notebook.note.files, role: file_id})
            tell(f"uploaded {len(job.files[role].rows):,} {role} rows as {provider.clean(file_id)}.")
    if notebook.note.token is None:
        notebook.change(token=secrets.token_hex(12))
    files, token = notebook.note.files, notebook.note.token
    assert token is not None
    tried: list[bool] = []

    async def once() -> FineTuningJob:
        made = await _look_up(provider, notebook) if tried else None
        tried.append(True)
        return made or await provider.client.fine_tuning.jobs.create(
            training_file=files["training"],
            validation_file=files.get("validation", openai.omit),
            metadata={TOKEN: token},
            **job.job_body(),
        )

    made = await provider.call(MAKING, once)
    notebook.change(job=made.id)
    return made


async def _upload(provider: Provider, notebook: JobState, job: HostedPreparation, role: str) -> str:
    """Upload one file; where an earlier try may have succeeded, look for it by its name first."""
    name, content = job.filename(role), job.files[role].content
    tried = [role in notebook.note.uploading]
    if not tried[0]:
        notebook.change(uploading=(*notebook.note.uploading, role))

    async def look() -> str | None:
        async for file in provider.client.files.list(purpose="fine-tune", limit=100):
            if file.filename == name and file.bytes == len(content) and getattr(file, "status", "") != "error":
                return file.id
        return None

    async def once() -> str:
        found = await provider.offered(look, "looking for uploaded files", None) if tried[0] else None
        tried[0] = True
        if found is not None:
            return found
        made = await provider.client.files.create(file=(name, content), purpose="fine-tune", timeout=UPLOAD_S)
        return made.id

    return await provider.call(f"uploading the {role} rows", once)


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
    progress = STEP.search(event.message or "")
    step, total = data.get("step"), data.get("total_steps")
    if progress is not None:
        step = progress[1] if step is None else step
        total = progress[2] if total is None else total
    figures = {name: value for key, name in FIGURES.items() if (value := _number(data.get(key))) is not None}
    number = _number(step)
    if number is None or (progress is None and not figures):
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
    detail = message or code
    return f": {provider.clean(str(detail)).rstrip('.')}" if detail else ""
