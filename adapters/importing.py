"""Taking an adapter that was trained elsewhere into the workspace, with what its user knows of it."""

import secrets
import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.adapter_manifest import (
    MANIFEST,
    AdapterManifest,
    foreign_manifest,
    mark_current,
    places_of,
    write_manifest,
)
from harness.data.contamination import Signatures
from harness.errors import UsageError
from harness.execution.preflight import read_training_file
from harness.hashing import digest
from harness.peft_folder import PEFT_CONFIG, WEIGHTS, read_peft_folder
from harness.task_loading import load_task
from harness.text_format import utc_now
from harness.workspace import Workspace

TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt"),
)
"""Files of a tokenizer that are taken along; a training leaves many others, some of them pickled."""


class ImportOptions(NamedTuple):
    """What is known of an adapter beyond its files.

    task: the task that it was trained for; then `adapter = "auto"` finds it. trained_on: a file with its training rows.
    base: instead of the base its configuration names. labels: of a classification head, in the order of its rows.
    """

    task: str | None = None
    trained_on: Path | None = None
    base: str | None = None
    labels: tuple[str, ...] = ()


def import_adapter(path: Path, options: ImportOptions, workspace: Workspace) -> tuple[Path, AdapterManifest]:
    """Copy an adapter's files into the workspace, beside a manifest. The folder it comes from is only read.

    Raises UsageError where it is no adapter, is of Bench itself, or does not fit what is declared for it.
    """
    if (path / MANIFEST).is_file():
        raise UsageError(f"{path} is an adapter of Bench already: name it as it is (--adapter {path}).")
    source = read_peft_folder(path).folder
    manifest = foreign_manifest(source)
    target = workspace.adapters / manifest.id
    if target.exists():
        raise UsageError(f"adapter {manifest.id} is in the workspace already: bench adapter rm {manifest.id} first.")
    aside = workspace.adapters / f".new-{manifest.id}-{secrets.token_hex(2)}"
    aside.mkdir(parents=True)
    try:
        for name in (PEFT_CONFIG, WEIGHTS, *TOKENIZER_FILES):
            if (source / name).is_file():
                shutil.copyfile(source / name, aside / name)
        manifest = _with_knowledge(manifest, options, aside)
        write_manifest(aside, manifest)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if manifest.task:
        mark_current(workspace, manifest)
    return target, manifest


def _with_knowledge(manifest: AdapterManifest, options: ImportOptions, folder: Path) -> AdapterManifest:
    """The manifest with what the user says; signatures of the training rows are written into `folder`."""
    labels = _labels(manifest, options)
    base = options.base or manifest.base
    changes: AdapterManifest = msgspec.structs.replace(
        manifest,
        base=base,
        base_revision=manifest.base_revision if base == manifest.base else None,
        labels=labels,
        created=utc_now().isoformat(),
        places=places_of(options.task or "", base, None),
    )
    if options.task is None:
        if options.trained_on is not None:
            raise UsageError("--trained-on needs --task: the task says which texts of a row are compared.")
        return changes
    task = load_task(options.task)
    if manifest.objective == "head" and labels and sorted(labels) != sorted(task.labels):
        raise UsageError(
            f"adapter {manifest.id} knows the labels {', '.join(labels)}, the task {task.name} asks for "
            f"{', '.join(task.labels) or 'none'}."
        )
    changes = msgspec.structs.replace(changes, task=task.name, task_version=task.version)
    if options.trained_on is None:
        return changes
    rows: Signatures = read_training_file(task, options.trained_on)
    rows.save(folder)
    facts = {
        "source": str(options.trained_on),
        "split": "train",
        "rows": len(rows.exact),
        "fingerprint": digest(sorted(map(int, rows.exact))),
    }
    return msgspec.structs.replace(changes, data=facts)


def _labels(manifest: AdapterManifest, options: ImportOptions) -> tuple[str, ...]:
    if not options.labels:
        return manifest.labels
    if manifest.objective != "head":
        raise UsageError(f"--labels is for a classification head; adapter {manifest.id} writes its answers.")
    return options.labels
