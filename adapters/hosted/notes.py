"""What is remembered of a job across a kill: written before something is paid, and the moment an id is known."""

from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.files import write_json
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


class Notebook:
    """The note of one training, on disk after every change."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.path = folder / NOTE
        self.note = self._read() or JobNote(base_url=base_url)

    def _read(self) -> JobNote | None:
        if not self.path.is_file():
            return None
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=JobNote)
        except msgspec.MsgspecError as error:
            raise UsageError(
                f"{self.path} is not a readable note of a job ({error}): look up the job at its provider before you "
                "remove it, or it may be paid twice."
            ) from None

    def change(self, **fields: object) -> None:
        """Write the note with some fields replaced."""
        self.note = msgspec.structs.replace(self.note, **fields)
        write_json(self.path, self.note)

    def end(self) -> None:
        """The job has failed or was cancelled: the same command may begin another."""
        if self.note.job is not None:
            ended = (*self.note.ended, self.note.job)
            self.change(ended=ended, job=None, token=None, last_event=None)
