"""What one handle's work amounted to: rates, padding, reuse and memory."""

import resource
import sys
from dataclasses import dataclass

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
        if not self.rows:
            return {}
        busy = max(self.busy_s, 1e-9)
        return {
            "rows_per_s": self.rows / busy,
            "tokens_per_s": (self.computed_tokens + self.completion_tokens) / busy,
            "computed_tokens": float(self.computed_tokens),
            "padding_share": self.padding_tokens / max(1, self.padding_tokens + self.computed_tokens),
            "prefix_reuse_share": self.reused_tokens / max(1, self.prompt_tokens),
            "peak_memory_bytes": float(self.peak_memory_bytes),
            "batches": float(self.batches),
            "busy_s": self.busy_s,
            "out_of_memory_halvings": float(self.halvings),
        }


def peak_memory(device: torch.device) -> int:
    """Peak bytes so far: of the card's allocator on CUDA, else the process's resident set."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
