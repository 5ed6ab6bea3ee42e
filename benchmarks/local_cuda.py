"""Bench on a CUDA card, at the shapes of Llama 3.2 1B and Llama 3.1 8B: rates, and shares of what the card can do.

    python benchmarks/local.py --device cuda --model 1b --data agnews/test.csv --rows 5600

The weights are random and made on the card (speed needs no others). Bounds are measured on the same card:
copy bandwidth for writing tokens (every step reads all weights), bf16 matrix rate for reading prompts.
"""

import time
from collections.abc import Callable

import torch
from local_models import LABELS, VOCABULARY, prompt, shape, train_tokenizer
from transformers import LlamaForCausalLM

from harness.backends.local.engine import LocalEngine
from harness.records import Decode, Message, Request

REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    """Median of five synchronised runs after one to warm up."""
    taken = []
    for _ in range(REPEATS + 1):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return sorted(taken[1:])[REPEATS // 2]


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a copy of 4 GiB."""
    source = torch.empty(1 << 32, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda: target.copy_(source))


def matrix_rate() -> float:
    """bf16 floating-point operations a second of an 8192 x 8192 x 8192 product."""
    n = 8192
    a, b = (torch.randn(n, n, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    return 2 * n**3 / seconds(lambda: a @ b)


def measure(name: str, texts: list[str], rows: int) -> None:
    """Rates of choose and generate, and their shares of the card's bounds."""
    tokenizer = train_tokenizer(texts, VOCABULARY[name])
    torch.manual_seed(0)
    with torch.device("cuda"):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(shape(name, tokenizer)).eval()
        torch.set_default_dtype(torch.float32)
    weights = sum(p.numel() for p in model.parameters())
    busy = weights - model.get_input_embeddings().weight.numel()  # looked up, not multiplied
    bandwidth, rate = copy_bandwidth(), matrix_rate()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    print(f"copy {bandwidth / 1e9:.0f} GB/s, bf16 {rate / 1e12:.0f} TFLOP/s, {weights / 1e9:.2f} G weights")
    engine = LocalEngine.from_live(model, tokenizer)
    requests = [
        Request(
            id=str(n), messages=(Message(role="user", content=prompt(text, [])),), labels=tuple(LABELS), max_tokens=64
        )
        for n, text in enumerate(texts[:rows])
    ]

    def ask(decode: Decode) -> float:
        return seconds(lambda: engine.answer(requests, decode=decode))

    answers = engine.answer(requests, decode="choose")
    own = sum(a.usage.prompt_tokens - a.usage.cached_tokens for a in answers)
    took = ask("choose")
    print(
        f"choose: {rows / took:.0f} rows/s, {own / took:.0f} tokens/s, "
        f"{2 * busy * own / took / rate:.0%} of the matrix rate, peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
    )
    answers = engine.answer(requests, decode="generate")
    written = sum(a.usage.completion_tokens for a in answers)
    # Steps that read all weights: one a token of the longest answer, in every batch (their durations differ).
    batches = len({a.timing.service_s for a in answers})
    steps = batches * max(a.usage.completion_tokens for a in answers)
    took = ask("generate")
    print(
        f"generate: {rows / took:.0f} rows/s, {written / took:.0f} tokens/s, "
        f"{2 * weights * steps / took / bandwidth:.0%} of the copy bandwidth (weights alone, {batches} batches)"
    )
