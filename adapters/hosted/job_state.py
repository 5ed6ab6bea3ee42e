"""The state of a hosted job across a kill: files and job, each created once."""

import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec
import openai
from openai.types.fine_tuning import FineTuningJob

from harness.adapters.hosted.preparation import HostedPreparation
from harness.adapters.hosted.provider_client import MAKING, UPLOAD_S, Provider
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
