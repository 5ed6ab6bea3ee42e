"""What a backend remembers of its batches across a kill: one small file each, written before anything is paid."""

import secrets
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.files import write_json
from harness.records import Record


class BatchNote(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One batch.

    token: sent along as the batch's metadata, by which it is found again where the kill came before its id was
    written. rows: the custom ids asked. collected: whether every answer has been handed on.
    """

    token: str
    rows: tuple[str, ...]
    batch_id: str | None = None
    collected: bool = False


class BatchNotes:
    """The notes of one backend in one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open_ones(self) -> list[BatchNote]:
        """Batches whose answers have not all been handed on, oldest first. Raises UsageError for a broken note."""
        found = []
        for path in sorted(self.folder.glob("batch-*.json")):
            try:
                note = msgspec.json.decode(path.read_bytes(), type=BatchNote)
            except msgspec.MsgspecError as error:
                raise UsageError(f"{path}: not a note of a batch ({error}).") from None
            if not note.collected:
                found.append(note)
        return found

    def begin(self, rows: tuple[str, ...]) -> BatchNote:
        """A new note, on disk before its batch exists."""
        number = sum(1 for _ in self.folder.glob("batch-*.json")) + 1
        note = BatchNote(token=f"{number:04d}-{secrets.token_hex(8)}", rows=rows)
        self.write(note)
        return note

    def write(self, note: BatchNote) -> None:
        """Replace a note, whole or not at all."""
        write_json(self.folder / f"batch-{note.token}.json", note)
