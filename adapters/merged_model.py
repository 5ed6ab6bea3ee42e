"""Base and adapter as one model in memory, in the base's own type, and whether it answers as the adapter does."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel

from harness.adapter_manifest import AdapterManifest, weights_digest
from harness.adapters.lora_model import quiet_peft
from harness.backends.local.architecture import best_attention, stored_dtype
from harness.backends.local.base_files import BaseFiles, find_base
from harness.backends.local.engine import LocalEngine
from harness.backends.local.model_loading import model_loading
from harness.backends.local.weight_loading import (
    DTYPES,
    LOAD_ERRORS,
    first_line,
    load_tokenizer,
    read_weights,
    resolve_placement,
)
from harness.errors import UsageError
from harness.peft_folder import WEIGHTS
from harness.prompting.chat_rendering import Renderer
from harness.records import Completion, Request

NOT_EXPORTED = {"tfidf": "is a classical baseline", "hosted": "is hosted by its provider"}


@dataclass(frozen=True)
class MergedModel:
    """A merged model and what it was made of.

    model: in float32 arithmetic, its weights already rounded to `dtype`, the base's own type. equal: requests that it
    answers as the adapter did, of those `asked`.
    """

    model: Any
    tokenizer: Any
    files: BaseFiles
    manifest: AdapterManifest
    dtype: str
    asked: int
    equal: int

    @property
    def renderer(self) -> Renderer:
        """Of prompts, as the adapter was trained."""
        return Renderer(self.tokenizer, dict(self.manifest.recipe.get("template") or {}))

    def end_tokens(self) -> tuple[int, ...]:
        """Tokens that end an answer: the chat template's first, then the tokenizer's and the base's own."""
        own = self.model.generation_config.eos_token_id if self.model.can_generate() else None
        listed = own if isinstance(own, list) else [own]
        found = [self.renderer.end_id, self.tokenizer.eos_token_id, *listed]
        return tuple(dict.fromkeys(int(token) for token in found if token is not None))


def merge_model(folder: Path, manifest: AdapterManifest, requests: Sequence[Request]) -> MergedModel:
    """Merge an adapter into its base, and ask both the same requests.

    Raises UsageError: no PEFT adapter, changed weights, another base than it was trained on.
    """
    if manifest.objective in NOT_EXPORTED:
        raise UsageError(f"adapter {manifest.id} {NOT_EXPORTED[manifest.objective]}: there is nothing to export.")
    held = weights_digest(folder)
    if held is None or manifest.adapter_sha256 not in (None, held):
        raise UsageError(f"{folder / WEIGHTS} is not the file that was trained: nothing is exported.")
    files = find_base(manifest.base_spec)
    if manifest.base_sha256 not in (None, files.sha256()):
        raise UsageError(f"base {manifest.base} has other weights than the ones adapter {manifest.id} was trained on.")
    tokenizer = load_tokenizer(files)
    tuned = _load(folder, manifest, files)
    template = dict(manifest.recipe.get("template") or {})
    asked = list(requests)
    before = _answers(tuned, tokenizer, template, asked, manifest)
    dtype = stored_dtype(files) or "float32"
    with torch.no_grad():
        merged = tuned.merge_and_unload()
        for parameter in merged.parameters():
            parameter.data = parameter.data.to(DTYPES[dtype]).to(parameter.dtype)
    after = _answers(merged, tokenizer, template, asked, manifest)
    equal = sum(b.text == a.text for b, a in zip(before, after, strict=True))
    return MergedModel(merged, tokenizer, files, manifest, dtype, len(asked), equal)


def _load(folder: Path, manifest: AdapterManifest, files: BaseFiles) -> Any:
    head = manifest.objective == "head"
    kind: Any = transformers.AutoModelForSequenceClassification if head else transformers.AutoModelForCausalLM
    placement = resolve_placement("auto", "float32", best_attention(files), "none", None)
    try:
        with model_loading(), quiet_peft(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the head is new is the point: the adapter brings it
            labels = {"num_labels": len(manifest.labels)} if head else {}
            model = read_weights(files, placement, kind, dtype=torch.float32, **labels)
            model.to(placement.device)
            return PeftModel.from_pretrained(model, str(folder)).eval()
    except LOAD_ERRORS as error:
        raise UsageError(f"adapter {manifest.id} cannot be loaded on {manifest.base}: {first_line(error)}.") from error


def _answers(
    model: Any, tokenizer: Any, template: dict[str, Any], requests: list[Request], manifest: AdapterManifest
) -> list[Completion]:
    if not requests:
        return []
    engine = LocalEngine.from_live(model, tokenizer, template)
    if manifest.objective == "head":
        return engine.answer(requests, decode="head", labels=manifest.labels)
    return engine.answer(requests, decode="generate")


def save_model(merged: MergedModel, out: Path) -> None:
    """A Hugging Face folder: safetensors in the base's type, tokenizer with its template, every end token named.

    A classification head becomes a model of transformers' `..ForSequenceClassification`, labels in its configuration.
    """
    model, tokenizer, ends = merged.model, merged.tokenizer, merged.end_tokens()
    if merged.manifest.objective == "head":
        labels = merged.manifest.labels
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: n for n, label in enumerate(labels)}
        model.config.pad_token_id = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    else:
        padding = tokenizer.pad_token_id
        model.generation_config = transformers.GenerationConfig(  # type: ignore[no-untyped-call]
            bos_token_id=tokenizer.bos_token_id, eos_token_id=list(ends), pad_token_id=padding, do_sample=False
        )
        model.config.eos_token_id = list(ends) if len(ends) > 1 else ends[0]
    with model_loading():
        model.to(DTYPES[merged.dtype])
        model.config.dtype = DTYPES[merged.dtype]
        model.save_pretrained(out)
        model.to(torch.float32)
    tokenizer.save_pretrained(out)
