"""Merging an adapter into its base: a model of its own, shown to answer as the adapter does."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from harness.adapter_manifest import OWN_ROWS, AdapterManifest, read_manifest, tokenizer_folder, weights_digest
from harness.adapters.lora_model import quiet_peft
from harness.backends.local.architecture import best_attention, read_config
from harness.backends.local.base_files import BaseFiles, find_base
from harness.backends.local.engine import LocalEngine
from harness.backends.local.model_loading import model_loading
from harness.backends.local.weight_loading import (
    LOAD_ERRORS,
    choose_tokenizer,
    embedding_rows,
    first_line,
    load_tokenizer,
    read_weights,
    resolve_placement,
)
from harness.data.rows import EMBEDDED, DataSource
from harness.data.sampling import seeded_order
from harness.errors import BenchError, UsageError
from harness.peft_folder import PEFT_CONFIG, WEIGHTS, peft_config, tensor_name
from harness.records import Completion, Request
from harness.safetensors_header import read_header
from harness.task import Task
from harness.task_loading import build_request, load_rows, load_task

UNMERGED = {
    "head": "trains a head, which has no merged form",
    "tfidf": "is a classical baseline",
    "hosted": "is hosted by its provider",
}


FOREIGN_TASK = "agnews"
"""Its embedded rows verify the merged model of an adapter whose task is not known."""


class Merged(NamedTuple):
    """Where the merged model lies, and on how many rows it answered as the adapter did."""

    folder: Path
    rows: int


def merge(folder: Path, out: Path, rows: int, task_spec: str | None = None, base: str | None = None) -> Merged:
    """Write base + adapter as one model to `out`, after asking both the same `rows` training rows.

    task_spec: names the task, where the file that the adapter was trained with has moved. base: names the base, where
    it lies elsewhere. An adapter that Bench did not train is asked rows of `task_spec`, else of an embedded sample.
    In the base's own type: merged weights are rounded to it. Raises UsageError (a head, a hosted adapter, a
    base that differs, `out` not empty) and BenchError where an answer differs; nothing is written then.
    """
    manifest = read_manifest(folder)
    if manifest.objective != "generate":
        raise UsageError(f"adapter {manifest.id} {UNMERGED[manifest.objective]}: nothing to merge.")
    held = weights_digest(folder)
    if held is None or manifest.adapter_sha256 not in (None, held):
        raise UsageError(f"{folder / WEIGHTS} is not the file that was trained: nothing is merged.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not an empty folder: name another.")
    foreign = manifest.origin == "peft"
    task = _task(manifest, task_spec)
    source = manifest.data.get("source")
    location = None if source == OWN_ROWS else manifest.places.get("data", source)
    location = EMBEDDED if foreign and task_spec is None else location
    files = find_base(base or manifest.base_spec)
    if not foreign and files.sha256() != manifest.base_sha256:
        raise UsageError(f"base {manifest.base} has other weights than the ones adapter {manifest.id} was trained on.")
    vocabulary = int(read_config(files).get_text_config().vocab_size)
    width = embedding_rows(folder, vocabulary)
    tokenizer = choose_tokenizer(load_tokenizer(files), tokenizer_folder(folder, manifest), width).tokenizer
    tuned = _load_tuned(folder, manifest, files, width if width != vocabulary else None)
    samples = seeded_order(load_rows(task, DataSource(location=location, split="train")), manifest.seed)[:rows]
    requests = [build_request(task, sample) for sample in samples]
    template = dict(manifest.recipe.get("template") or {})
    before = _answers(tuned, tokenizer, requests, template)
    with torch.no_grad():
        merged = tuned.merge_and_unload()
    after = _answers(merged, tokenizer, requests, template)
    differ = [b.id for b, a in zip(before, after, strict=True) if (b.text, b.usage) != (a.text, a.usage)]
    if differ:
        raise BenchError(
            f"the merged model answers {len(differ)} of {len(requests)} rows differently ({', '.join(differ[:5])}): "
            "rounding to the base's type changed them; serve the adapter on its base instead. Nothing was written."
        )
    _write(merged, tokenizer, out)
    return Merged(out, len(requests))


def _load_tuned(folder: Path, manifest: AdapterManifest, files: BaseFiles, width: int | None) -> Any:
    """The adapter on its base, as PEFT loads it. width: of grown embeddings. Raises UsageError."""
    placement = resolve_placement("auto", "auto", best_attention(files), "none", None)
    try:
        with model_loading(), quiet_peft(), peft_readable(folder) as readable:
            model = read_weights(files, placement)
            if width is not None:
                model.resize_token_embeddings(width, mean_resizing=False)
            model.to(placement.device)
            tuned: Any = PeftModel.from_pretrained(model, str(readable)).eval()
            _require_all_loaded(tuned, readable)
    except LOAD_ERRORS as error:
        raise UsageError(f"adapter {manifest.id} cannot be loaded on {files.name}: {first_line(error)}.") from error
    kind = str((peft_config(folder) or {}).get("peft_type"))
    if not hasattr(tuned, "merge_and_unload"):
        raise UsageError(f"adapter {manifest.id} is of kind {kind}, which has no merged form.")
    return tuned


def _task(manifest: AdapterManifest, spec: str | None) -> Task:
    """The task that the adapter learned. Raises UsageError, also for a task of another name."""
    if manifest.origin == "peft":
        return load_task(spec or manifest.task_spec or FOREIGN_TASK)
    try:
        task = load_task(spec or manifest.task_spec)
    except UsageError as error:
        if spec is not None:
            raise
        raise UsageError(
            f"{error} Adapter {manifest.id} learned the task '{manifest.task}': name its file with --task."
        ) from None
    if task.name != manifest.task:
        raise UsageError(f"--task {spec}: adapter {manifest.id} learned the task '{manifest.task}', not '{task.name}'.")
    return task


@contextmanager
def peft_readable(folder: Path) -> Iterator[Path]:
    """The folder itself, or a copy in which tensors and target modules are named as PEFT reads them."""
    names = {name: f"base_model.model.{tensor_name(name)}" for name in read_header(folder / WEIGHTS)}
    if all(name.replace(".base_layer.", ".") == wanted for name, wanted in names.items()):
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        weights = load_file(folder / WEIGHTS)
        save_file({wanted: weights[name] for name, wanted in names.items()}, copy / WEIGHTS)
        modules = {tensor_name(name).partition(".lora_")[0] for name in names if ".lora_" in name}
        config = {**(peft_config(folder) or {}), "target_modules": sorted(modules)}
        (copy / PEFT_CONFIG).write_bytes(msgspec.json.encode(config))
        yield copy


def _require_all_loaded(tuned: Any, folder: Path) -> None:
    """Raise UsageError where PEFT left a tensor of the adapter out: it would be merged without it, in silence."""
    held = {tensor_name(name) for name in tuned.state_dict()}
    lost = [name for name in read_header(folder / WEIGHTS) if tensor_name(name) not in held]
    if lost:
        raise UsageError(
            f"{folder}: {len(lost)} of its tensors do not belong to this base (the first is {lost[0]}): name its own "
            "base with --base."
        )


def _answers(model: Any, tokenizer: Any, requests: list[Request], template: dict[str, Any]) -> list[Completion]:
    return LocalEngine.from_live(model, tokenizer, template).answer(requests, decode="generate")


def _write(model: Any, tokenizer: Any, out: Path) -> None:
    """Aside first, so that `out` holds a whole model or none."""
    aside = out.parent / f".{out.name}.{secrets.token_hex(2)}"
    with model_loading():
        model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    if out.exists():
        out.rmdir()
    aside.rename(out)
