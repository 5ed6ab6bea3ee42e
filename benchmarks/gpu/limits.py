"""The device's own limits, and the work that a forward or training pass cannot do without.

Only matrix products of linear layers are counted as work: attention adds less than 3 % at the lengths used here, so
shares of the peak are slightly understated. Padding is no work.
"""

import time
from collections.abc import Callable

import torch

from benchmarks.gpu.results import Figures, Finding, Recorder
from benchmarks.gpu.workload import Setting, Shape
from harness.backends.local.decode_job import peak_memory
from harness.backends.local.weight_loading import DTYPES

COPY, PEAK = "copy_bytes_per_s", "matmul_flop_per_s"
"""Names of the two limits among the figures."""

REPEATS, ENOUGH_S = 3, 6.0


def synchronize(device: str) -> None:
    """Wait until the device has done everything that was queued."""
    if device != "cpu":
        torch.cuda.synchronize()


def seconds(device: str, work: Callable[[], object], *, warm: bool = True) -> float:
    """Median wall seconds of up to three synchronised runs (fewer where they take long), after one to warm up."""
    if warm:
        work()
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < ENOUGH_S:
        synchronize(device)
        begun = time.perf_counter()
        work()
        synchronize(device)
        taken.append(time.perf_counter() - begun)
    return sorted(taken)[len(taken) // 2]


def measure_limits(setting: Setting, record: Recorder) -> None:
    """Copy bandwidth and the rate of a large matrix product."""
    record.measure("copy bandwidth (bytes read and written)", lambda: copy_bandwidth(setting))
    record.measure("matrix product", lambda: matmul_rate(setting))


def copy_bandwidth(setting: Setting) -> Finding:
    """Bytes a second, read and written, of a copy of 4 GiB (16 MiB in a dry run)."""
    source = torch.zeros(setting.count(1 << 32, 1 << 24), dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    took = seconds(setting.device, lambda: target.copy_(source))
    return Finding({COPY: 2 * source.numel() / took, "bytes": source.numel()})


def matmul_rate(setting: Setting) -> Finding:
    """Operations a second of an n x n x n product in the models' type, of random numbers (zeros are faster)."""
    n = setting.count(8192, 256)
    a, b = (torch.randn(n, n, dtype=DTYPES[setting.dtype], device=setting.device) for _ in range(2))
    out = torch.empty_like(a)

    def products() -> None:
        for _ in range(10):
            torch.mm(a, b, out=out)

    return Finding({PEAK: 10 * 2 * n**3 / seconds(setting.device, products), "n": n, "dtype": setting.dtype})


def limit(record: Recorder, name: str) -> float | None:
    """A limit that the part "limits" measured; None where it did not."""
    part = record.report.part("limits")
    return part.figure(name) if part else None


def share(amount: float, limit: float | None) -> Figures:
    """The share of a limit that a rate reaches; empty without the limit."""
    return {"share_of_limit": amount / limit} if limit else {}


def peak_gib(setting: Setting) -> Figures:
    """Most memory so far: of the card's allocator since it was last reset, on a CPU of the process."""
    return {"peak_gib": peak_memory(torch.device(setting.device)) / 2**30}


def prefill_flop(shape: Shape, tokens: int, outputs: int) -> float:
    """Operations for reading `tokens`, of which `outputs` go through the last MLP and the output layer."""
    every = shape.layers * shape.attention_weights + (shape.layers - 1) * shape.mlp_weights
    return 2.0 * (tokens * every + outputs * (shape.mlp_weights + shape.output_weights))


def training_flop(shape: Shape, tokens: int, targets: int, lora_weights: int) -> float:
    """Operations of a step that trains LoRA matrices only.

    Frozen weights take part in the forward pass and in the gradient of their input (2 + 2 a token and weight), trained
    ones also in their own gradient (6). Recomputed activations are no work.
    """
    every = shape.layers * (shape.attention_weights + shape.mlp_weights)
    return 4.0 * (tokens * every + targets * shape.output_weights) + 6.0 * tokens * lora_weights


def decode_bytes(shape: Shape, rows: int, context: float, width: int = 2) -> float:
    """Bytes that one step of decoding must read: all layers, the output layer, and keys and values of all rows.

    context: tokens before the step, averaged over the steps. width: bytes of a number.
    """
    weights = shape.layers * (shape.attention_weights + shape.mlp_weights) + shape.output_weights
    return float(width) * (weights + rows * context * 2 * shape.layers * shape.kv_width)
