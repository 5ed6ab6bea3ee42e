"""From orders to what an engine needs: the base's files, their placement on this machine, the job."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

from .base import BaseFiles, find_base, missing_extra
from .orders import BaseFacts, Weights, Work

if TYPE_CHECKING:
    from .job import Job
    from .loading import Placement


def find_weights(wanted: Weights) -> "tuple[BaseFiles, Placement, BaseFacts]":
    """Find and hash the base, and choose its place; nothing is loaded. Raises UsageError saying what is missing."""
    base = find_base(wanted.model)
    try:
        from .architecture import best_attention
        from .loading import place
    except ImportError:
        raise missing_extra() from None
    attention = best_attention(base) if wanted.attention == "auto" else wanted.attention
    placement = place(wanted.device, wanted.dtype, attention, wanted.quantization, wanted.threads)
    facts = BaseFacts(
        name=base.name,
        folder=str(base.folder),
        revision=base.revision,
        sha256=base.sha256() if base.revision is None else None,
        config_sha256=base.config_sha256(),
        placement=placement.facts(),
    )
    return base, placement, facts


def job_of(work: Work, placement: "Placement") -> "Job":
    """The engine's own form of an order."""
    from .batching import usual_tokens
    from .job import Job

    return Job(
        decode=work.decode,
        adapter=work.adapter,
        folder=Path(work.folder) if work.folder is not None else None,
        labels=work.labels,
        normalisation=work.normalisation,
        budget=work.budget or usual_tokens(placement.device.split(":")[0], work.decode),
        unbatched=work.unbatched,
        template=work.template,
    )


def check_template(base: BaseFiles, work: Work) -> list[str]:
    """Render the first row's messages with the base's tokenizer alone; remarks on what its template made necessary.

    Raises UsageError where the template refuses such messages or leaves a text out, or the tokenizer cannot be read.
    """
    from harness.prompting.rendering import Renderer

    from .loading import LOAD_ERRORS, first_line, load_tokenizer

    try:
        renderer = Renderer(load_tokenizer(base), work.template)
    except LOAD_ERRORS as error:
        raise UsageError(f"base model {base.name}: its tokenizer cannot be loaded: {first_line(error)}.") from error
    if work.decode == "head":
        return []
    try:
        if work.messages:
            renderer.text(work.messages)
        renderer.end_id  # noqa: B018  (a tokenizer without an end token is refused here)
    except UsageError as error:
        raise UsageError(f"base model {base.name}: {error}") from None
    return [f"base model {base.name}: {remark}" for remark in renderer.remarks]
