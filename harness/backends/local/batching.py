"""Batches of rows: longest first, bounded by tokens; smaller after running out of memory."""

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch

from harness.prompting.chat_rendering import Prompt
from harness.records import Completion, Decode, Failure, Request

CPU_TOKENS = 768
"""Tokens a CPU reads at a time: fewer pad less and stay in its caches, more only add overhead."""

CPU_DECODE_TOKENS = 8192
"""Tokens of a batch that is written on a CPU: every step reads all weights once, so many rows share it."""

CPU_CACHE_BYTES = 1 << 31
"""Bytes of keys and values that a batch may hold on a CPU: where its memory ends, the system ends the process."""

ACCELERATOR_TOKENS = 65536
"""Tokens of a batch on an accelerator; running out of memory halves them."""


def default_batch_tokens(device: str, decode: Decode) -> int:
    """Tokens of a batch where the settings name none; `device` as torch names its kind."""
    if device != "cpu":
        return ACCELERATOR_TOKENS
    return CPU_DECODE_TOKENS if decode in ("generate", "json") else CPU_TOKENS


class PromptItem(NamedTuple):
    """One row ready for a batch: its request, its prompt, and when it was queued (monotonic seconds)."""

    request: Request
    prompt: Prompt
    queued: float


def batches(
    items: list[PromptItem], budget: int, widths: Sequence[int], keys: Sequence[Hashable], most: Sequence[int]
) -> Iterator[list[int]]:
    """Positions of the rows of each batch.

    widths[i]: tokens row i takes; a batch takes rows x its widest row <= budget, of one key, at most most[i] rows
    where row i is its widest. Longest first: running out of memory shows at once and the remaining time is not
    underestimated.
    """
    order = sorted(range(len(items)), key=lambda i: (-widths[i], i))
    by_key: dict[Hashable, list[int]] = {}
    for i in order:
        by_key.setdefault(keys[i], []).append(i)
    for rows in by_key.values():
        start = 0
        while start < len(rows):
            widest = rows[start]
            size = max(1, min(most[widest], budget // max(1, widths[widest])))
            yield rows[start : start + size]
            start += size


def prefill_chunks(lengths: Sequence[int], tokens: int) -> Iterator[slice]:
    """Runs of rows whose count x longest length stays within `tokens` (at least one row each)."""
    start = 0
    while start < len(lengths):
        end, widest = start + 1, lengths[start]
        while end < len(lengths) and max(widest, lengths[end]) * (end + 1 - start) <= tokens:
            widest = max(widest, lengths[end])
            end += 1
        yield slice(start, end)
        start = end


def failed_completion(request: Request, kind: str, message: str) -> Completion:
    """No answer, and why."""
    return Completion(id=request.id, repeat=request.repeat, error=Failure(kind=kind, message=message))


def has_non_finite(scores: Iterable[float]) -> bool:
    """Whether a model's scores are no numbers: float16 ends at 65,504, and some models compute more."""
    return any(map(math.isnan, scores))


def non_finite_completion(request: Request) -> Completion:
    """The infrastructure error of a row whose scores are no numbers: whichever came first would be its answer."""
    return failed_completion(
        request, "not_a_number", 'the model\'s scores are no numbers: set dtype = "float32" (or "bfloat16")'
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that an allocation failed (CUDA, MPS, or torch's CPU allocator)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def free_device_memory(device: torch.device) -> None:
    """Hand cached blocks back so that the smaller batch finds room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
