"""Whether a CPU computes in bfloat16: asked of the processor, and timed once a process.

Processors with AVX512-BF16 or AMX multiply bfloat16 matrices about twice as fast as float32 ones; others emulate them,
several times slower.
"""

import functools
import time

import torch

QUESTIONS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
"""What torch.cpu is asked; a version of torch that cannot be asked gives no answer, which counts as no."""

SHAPE = (256, 1024)
"""Rows and width of the products that are timed: half a GFLOP each, some tens of milliseconds on one thread."""

REPEATS = 5


@functools.cache
def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 matrices, and is no slower with them."""
    return _has_instructions() and _seconds(torch.bfloat16) <= _seconds(torch.float32)


def cpu_dtype(stored: str | None) -> str:
    """The type in which a CPU computes a base whose weights are stored in type `stored`, as "auto" has it.

    Weights stored in bfloat16 lose nothing in that type; all others are computed in float32, as they are where the
    processor would only emulate bfloat16.
    """
    return "bfloat16" if stored == "bfloat16" and computes_bfloat16() else "float32"


def _has_instructions() -> bool:
    return any(getattr(torch.cpu, name, bool)() for name in QUESTIONS)


def _seconds(dtype: torch.dtype) -> float:
    """The fastest of some products: what disturbs one does not disturb all."""
    rows, width = SHAPE
    a, b = torch.ones(rows, width, dtype=dtype), torch.ones(width, width, dtype=dtype)
    torch.mm(a, b)
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        torch.mm(a, b)
        found.append(time.perf_counter() - begun)
    return min(found)
