"""What the reference would answer with a fault: the adapter off, a part of its rank, weights of fewer bits.

The base is loaded once more and changed in memory; only the rows that tell the faults apart are asked, so this takes
about as long as those rows take. A fault whose answers are the served ones, on the rows that differ as on the rows
that do not, is the cause. Needs PyTorch, which `bench parity` between two servers does without.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from harness.backends.local.architecture import best_attention
from harness.backends.local.base_files import find_base
from harness.backends.local.engine import LocalEngine
from harness.backends.local.lora_weights import BASE, AdapterSet
from harness.backends.local.model_loading import model_loading
from harness.backends.local.weight_loading import (
    LOAD_ERRORS,
    first_line,
    load_tokenizer,
    read_weights,
    resolve_placement,
)
from harness.deployment.likelihood_drift import TextLikelihood
from harness.deployment.weight_faults import Fault
from harness.errors import UsageError
from harness.prompting.chat_rendering import Renderer
from harness.records import Request

ADAPTER = "adapter"
BLOCK = 32
"""Weights that share one scale, as in GGUF's Q8_0 and Q4_0 (ggml-quants.c: quantize_row_q8_0_ref, q4_0_ref)."""

ROUNDED_BITS = (8, 4)
"""Bits that weights are rounded to."""


class FaultSimulator:
    """The reference model, to be asked with one fault after the other.

    base, folder: what names the base, and the adapter's folder (None: the base alone). dtype, device: as the reference
    was computed; template: variables of its chat template. Raises UsageError where it cannot be loaded.
    """

    def __init__(
        self, base: str, folder: Path | None, *, dtype: str = "auto", device: str = "auto", template: dict[str, Any]
    ) -> None:
        files = find_base(base)
        placement = resolve_placement(device, dtype, best_attention(files), "none", None)
        self._folder = folder
        try:
            self.tokenizer = load_tokenizer(files)
            with model_loading():
                model = read_weights(files, placement)
            self._model: Any = model.to(placement.device).eval()
        except LOAD_ERRORS as error:
            raise UsageError(f"base model {base} cannot be loaded: {first_line(error)}.") from error
        self.renderer = Renderer(self.tokenizer, template)
        self._adapters = AdapterSet(self._model)
        self._engine = LocalEngine.from_live(self._model, self.tokenizer, template)
        self._whole: list[tuple[Tensor, Tensor]] = []
        if folder is not None:
            self._adapters.activate(ADAPTER, folder)

    def log_likelihoods(self, requests: Sequence[Request], texts: Sequence[str]) -> list[TextLikelihood | None]:
        """Of one answer to each request, as the model is now; None where it cannot be computed."""
        asked = [replace(request, labels=(text,)) for request, text in zip(requests, texts, strict=True)]
        found = self._engine.answer(asked, decode="choose") if asked else []
        values = [(answer.label_scores or {}).get(text) for answer, text in zip(found, texts, strict=True)]
        return [
            None if value is None else TextLikelihood(value, answer.usage.completion_tokens)
            for value, answer in zip(values, found, strict=True)
        ]

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[Fault, list[str]]]:
        """Every fault with the texts that it would bring, one a request. The model is as it was afterwards, but for the
        rounding, which comes last."""
        asked = list(requests)
        if self._folder is not None:
            self._adapters.activate(BASE, None)
            yield Fault("adapter not applied"), self._texts(asked)
            self._adapters.activate(ADAPTER, self._folder)
            yield from self._reduced_ranks(asked)
        yield from self._rounded(asked)

    def _texts(self, requests: list[Request]) -> list[str]:
        return [answer.text.strip() for answer in self._engine.answer(requests, decode="generate")]

    def _layers(self) -> list[Any]:
        return [m for m in self._model.modules() if ADAPTER in getattr(m, "lora_A", {})]

    def _reduced_ranks(self, requests: list[Request]) -> Iterator[tuple[Fault, list[str]]]:
        """A half and a quarter of the rank: its first rows alone, or the best approximation of that rank."""
        layers = self._layers()
        pairs = [(layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight) for layer in layers]
        rank = max((down.shape[0] for down, _ in pairs), default=0)
        whole = [(down.detach().clone(), up.detach().clone()) for down, up in pairs]
        cuts: tuple[Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]], ...] = (first_rows, best_approximation)
        for kept in sorted({rank // 2, rank // 4} - {0}, reverse=True):
            for cut in cuts:
                with torch.no_grad():
                    for (down, up), (down_whole, up_whole) in zip(pairs, whole, strict=True):
                        fewer_down, fewer_up = cut(down_whole, up_whole, kept)
                        down.copy_(fewer_down)
                        up.copy_(fewer_up)
                yield Fault("reduced rank", f"rank {kept} of {rank}"), self._texts(requests)
        with torch.no_grad():
            for (down, up), (down_whole, up_whole) in zip(pairs, whole, strict=True):
                down.copy_(down_whole)
                up.copy_(up_whole)

    def _rounded(self, requests: list[Request]) -> Iterator[tuple[Fault, list[str]]]:
        for bits in ROUNDED_BITS:
            self.round_weights(bits)
            yield Fault("quantisation", f"{bits} bits"), self._texts(requests)

    @torch.no_grad()
    def round_weights(self, bits: int) -> None:
        """Merge the adapter, and round all matrices to 8 or to 4 bits; there is no way back to the adapter."""
        if not self._whole:
            for layer in self._layers():
                weight = layer.base_layer.weight
                weight.add_(layer.get_delta_weight(ADAPTER).to(weight.dtype))
            if self._folder is not None:
                self._adapters.activate(BASE, None)
            matrices = [
                m.weight
                for name, m in self._model.named_modules()
                if isinstance(m, nn.Linear | nn.Embedding) and ".lora_" not in name and m.weight.shape[-1] % BLOCK == 0
            ]
            shared = {id(weight): weight for weight in matrices}  # an output layer may be the embedding
            self._whole = [(weight, weight.detach().clone()) for weight in shared.values()]
        for weight, whole in self._whole:
            weight.copy_(rounded(whole, bits))


def first_rows(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (r x in) and (out x r) with all but their first `rank` components blanked."""
    fewer_down, fewer_up = down.clone(), up.clone()
    fewer_down[rank:], fewer_up[:, rank:] = 0, 0
    return fewer_down, fewer_up


def best_approximation(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of the same shapes whose product is the best approximation of this rank (Eckart and Young, Psychometrika
    1936), by QR of both factors and the singular values of the small product."""
    q_up, r_up = torch.linalg.qr(up.double())
    q_down, r_down = torch.linalg.qr(down.double().T)
    u, s, v = torch.linalg.svd(r_up @ r_down.T)
    fewer_down, fewer_up = torch.zeros_like(down), torch.zeros_like(up)
    fewer_up[:, :rank] = (q_up @ u[:, :rank] * s[:rank]).to(up.dtype)
    fewer_down[:rank] = (v[:rank] @ q_down.T).to(down.dtype)
    return fewer_down, fewer_up


def rounded(weight: Tensor, bits: int) -> Tensor:
    """Weights rounded block by block as GGUF's Q8_0 (bits 8) or Q4_0 (bits 4) round them, in their own type."""
    blocks = weight.float().reshape(-1, BLOCK)
    if bits == 8:
        scale = blocks.abs().amax(-1, keepdim=True) / 127
        levels = (blocks / scale.clamp(min=1e-30)).round()
    else:
        extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
        scale = extreme / -8
        inverse = torch.where(scale == 0, 0.0, 1 / torch.where(scale == 0, 1.0, scale))
        levels = (blocks * inverse + 8.5).floor().clamp(0, 15) - 8
    return (levels * scale.half().float()).reshape(weight.shape).to(weight.dtype)
