"""What one handle's work amounted to: rates, padding, reuse and memory."""

import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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
