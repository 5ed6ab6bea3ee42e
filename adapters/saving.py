"""Saving a trained adapter atomically, and checkpoints that survive a kill."""

import datetime
import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from harness.adapter_manifest import OWN_ROWS, ROWS, AdapterManifest, mark_current, places_of, write_manifest
from harness.adapters.train_options import TrainOptions
from harness.adapters.training_rows import Rows, row_id
from harness.data.contamination import Signatures
from harness.data.rows import EMBEDDED
from harness.data.sampling import ORDER, ORDER_VERSION, fingerprint
from harness.files import lock, write_json
from harness.records import Record
from harness.task import Task
from harness.task_loading import build_request
from harness.text_format import utc_now
from harness.workspace import Workspace


@dataclass(frozen=True)
class AdapterDestination:
    """Where a new adapter will lie (`folder`), where it is made (`aside`), its id and time."""

    id: str
    folder: Path
    aside: Path
    created: datetime.datetime
    options: TrainOptions

    @classmethod
    def make(cls, options: TrainOptions, task: Task, workspace: Workspace) -> "AdapterDestination":
        """A new id and an empty folder beside the final one."""
        now = utc_now()
        adapter_id = f"{task.name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        folder = options.out or workspace.adapters / adapter_id
        aside = folder.parent / f".new-{adapter_id}"
        aside.mkdir(parents=True)
        return cls(adapter_id, folder, aside, now, options)

    def settle(self, manifest: AdapterManifest, workspace: Workspace, *, current: bool) -> AdapterManifest:
        """Write the manifest, put the folder in place, and mark the adapter current where it should be.

        Returns the manifest as it was written: with the places of what the training was given.
        """
        places = places_of(self.options.task, manifest.base, self.options.data)
        manifest = msgspec.structs.replace(manifest, places=places)
        write_manifest(self.aside, manifest)
        if self.folder.exists():
            self.folder.rmdir()  # an empty --out, checked before
        self.aside.rename(self.folder)
        if current:
            mark_current(workspace, manifest)
        return manifest


def write_rows(folder: Path, task: Task, rows: Rows) -> None:
    """Ids and signatures of all rows the adapter has seen, for the contamination check of later runs."""
    lists = {"train": [row_id(s) for s in rows.train], "validation": [row_id(s) for s in rows.validation]}
    write_json(folder / ROWS, lists)
    seen = (build_request(task, sample).passage_texts() for sample in (*rows.train, *rows.validation))
    Signatures.of(seen).save(folder)


def data_facts(options: TrainOptions, rows: Rows, used: int, remarks: list[str]) -> dict[str, Any]:
    """The manifest's `data`: where the rows came from, which they were, and what was left out and why."""
    return {
        "source": options.data or OWN_ROWS,
        "split": "train",
        "fingerprint": rows.fingerprint(),
        ORDER: ORDER_VERSION,
        "rows": used,
        "label": "embedded sample" if options.data == EMBEDDED else "",
        "remarks": remarks,
    }


def selection_facts(options: TrainOptions, rows: Rows, used: int) -> dict[str, Any]:
    """The manifest's `selection`, but for what was chosen: the rows that chose, and the group it was chosen from."""
    group = {"group": {k: v for k, v in options.group.items() if k != "first"}} if options.group else {}
    return {"rows": used, "from": "train", "fingerprint": fingerprint(rows.validation), **group}


def plain(recipe: Record) -> dict[str, Any]:
    """A recipe as JSON holds it."""
    return msgspec.json.decode(msgspec.json.encode(recipe), type=dict[str, Any])


STATE = "trainer_state.json"


def committed(folder: Path) -> list[Path]:
    """Whole checkpoints of a training, oldest first; half-written ones are removed."""
    found: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        state = _state(path)
        if state is None:
            shutil.rmtree(path)
        else:
            found.append((int(state["global_step"]), path))
    return [path for _, path in sorted(found)]


def _state(checkpoint: Path) -> dict[str, Any] | None:
    """Read as transformers writes it: a gradient outside of float16's range is `Infinity` or `NaN`."""
    try:
        state = json.loads((checkpoint / STATE).read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and "global_step" in state else None


def lock_training_folder(folder: Path) -> BinaryIO:
    """Keep other processes out of a training's folder until the returned file is closed (or this process dies)."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("ab")
    lock(file, f"the same training is running already (in {folder})")
    return file
