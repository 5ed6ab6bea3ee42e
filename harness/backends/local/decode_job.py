"""What one backend asks of the engine: its model, tokenizer, decoding and counters."""

import resource
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.local.base_files import BaseFiles, find_base, missing_local_extra
from harness.backends.local.batching import CPU_TOKENS
from harness.backends.local.label_scoring import Normalisation
from harness.backends.local.lora_weights import BASE
from harness.backends.local.model_spec import BaseFacts, DecodeSettings, ModelSpec
from harness.errors import UsageError
from harness.records import Decode

if TYPE_CHECKING:
    import torch

    from harness.backends.local.weight_loading import ChosenTokenizer, Placement


@dataclass
class Counters:
    """Sums over batches; `busy_s` is time spent in forward passes and their bookkeeping."""

    rows: int = 0
    batches: int = 0
    busy_s: float = 0.0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    computed_tokens: int = 0
    padding_tokens: int = 0
    completion_tokens: int = 0
    halvings: int = 0
    peak_memory_bytes: int = 0

    def table(self) -> dict[str, float]:
        """Rates and shares. padding_share: of all computed columns; prefix_reuse_share: of all prompt tokens."""
        return table(asdict(self))


def table(sums: Mapping[str, float]) -> dict[str, float]:
    """Rates and shares from sums named as in Counters, of one engine or of several together; empty without rows."""
    if not sums["rows"]:
        return {}
    busy = max(sums["busy_s"], 1e-9)
    computed, padding = sums["computed_tokens"], sums["padding_tokens"]
    return {
        "rows_per_s": sums["rows"] / busy,
        "tokens_per_s": (computed + sums["completion_tokens"]) / busy,
        "computed_tokens": float(computed),
        "padding_share": padding / max(1, padding + computed),
        "prefix_reuse_share": sums["reused_tokens"] / max(1, sums["prompt_tokens"]),
        "peak_memory_bytes": float(sums["peak_memory_bytes"]),
        "batches": float(sums["batches"]),
        "busy_s": sums["busy_s"],
        "out_of_memory_halvings": float(sums["halvings"]),
    }


def peak_memory(device: "torch.device") -> int:
    """Peak bytes so far: of the card's allocator on CUDA, else the process's resident set."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass
class DecodeJob:
    """What a handle queues with its rows.

    adapter: its name in this engine ("" is the base alone) and `folder` where it lies; budget: tokens of a
    batch; unbatched: one row at a time and no shared prefix (a latency probe). `cancelled` ends it after
    the current batch. template: variables of the chat template; tokenizer: folder of the adapter's own.
    """

    decode: Decode
    adapter: str = BASE
    folder: Path | None = None
    labels: tuple[str, ...] = ()
    normalisation: Normalisation = "sum"
    budget: int = CPU_TOKENS
    unbatched: bool = False
    template: dict[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None
    counters: Counters = field(default_factory=Counters)
    cancelled: threading.Event = field(default_factory=threading.Event)


def resolve_model(spec: ModelSpec) -> "tuple[BaseFiles, Placement, BaseFacts]":
    """Find and hash the base, and choose its place; nothing is loaded. Raises UsageError saying what is missing."""
    base = find_base(spec.model)
    try:
        from harness.backends.local.architecture import best_attention, stored_dtype
        from harness.backends.local.weight_loading import resolve_placement
    except ImportError:
        raise missing_local_extra() from None
    attention = best_attention(base) if spec.attention == "auto" else spec.attention
    stored = stored_dtype(base)
    placement = resolve_placement(spec.device, spec.dtype, attention, spec.quantization, spec.threads, stored)
    facts = BaseFacts(
        name=base.name,
        folder=str(base.folder),
        revision=base.revision,
        sha256=base.sha256() if base.revision is None else None,
        config_sha256=base.config_sha256(),
        placement=placement.facts(),
    )
    return base, placement, facts


def make_job(settings: DecodeSettings, placement: "Placement") -> "DecodeJob":
    """The engine's own form of an order."""
    from harness.backends.local.batching import default_batch_tokens

    return DecodeJob(
        decode=settings.decode,
        adapter=settings.adapter,
        folder=Path(settings.folder) if settings.folder is not None else None,
        labels=settings.labels,
        normalisation=settings.normalisation,
        budget=settings.budget or default_batch_tokens(placement.device.split(":")[0], settings.decode),
        unbatched=settings.unbatched,
        template=settings.template,
        tokenizer=Path(settings.tokenizer) if settings.tokenizer is not None else None,
    )


def check_template(base: BaseFiles, settings: DecodeSettings) -> list[str]:
    """Render the first row's messages with the tokenizer alone; remarks on what its template made necessary.

    Raises UsageError where the template refuses such messages or leaves a text out, or the tokenizer cannot be read.
    """
    from harness.backends.local.weight_loading import LOAD_ERRORS, first_line, load_tokenizer
    from harness.prompting.chat_rendering import Renderer

    try:
        tokenizer = load_tokenizer(base)
    except LOAD_ERRORS as error:
        raise UsageError(f"base model {base.name}: its tokenizer cannot be loaded: {first_line(error)}.") from error
    chosen = _adapters_tokenizer(base, tokenizer, settings)
    renderer = Renderer(chosen.tokenizer, settings.template)
    if settings.decode == "head":
        return []
    try:
        if settings.messages:
            renderer.text(settings.messages, settings.tools)
        renderer.end_id  # noqa: B018  (a tokenizer without an end token is refused here)
    except UsageError as error:
        raise UsageError(f"base model {base.name}: {error}") from None
    return [*chosen.remarks, *(f"base model {base.name}: {remark}" for remark in renderer.remarks)]


def _adapters_tokenizer(base: BaseFiles, tokenizer: Any, settings: DecodeSettings) -> "ChosenTokenizer":
    from harness.backends.local.architecture import read_config
    from harness.backends.local.weight_loading import choose_tokenizer, embedding_rows

    if settings.tokenizer is None or settings.folder is None:
        return choose_tokenizer(tokenizer, None, 0)
    rows = embedding_rows(Path(settings.folder), int(read_config(base).get_text_config().vocab_size))
    return choose_tokenizer(tokenizer, Path(settings.tokenizer), rows)
