"""Faults in the weights: simulated on the model at hand and compared with the served answers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
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
from harness.deployment.answered_rows import AnsweredRow
from harness.deployment.parity_result import ParityFinding
from harness.deployment.server_facts import ServedModelFacts
from harness.errors import UsageError
from harness.metrics import Estimate
from harness.prompting.chat_rendering import Renderer
from harness.records import Completion, Request

FaultKind = Literal["adapter not applied", "reduced rank", "quantisation"]


class Fault(NamedTuple):
    """A simulated fault: its kind, and its size in words ("rank 8 of 16", "4 bits")."""

    kind: FaultKind
    size: str = ""


MOST_ROWS = 24
"""Rows that differ, and as many that do not, that are asked again with every simulated fault."""

EXPLAINED = 0.9
"""Share of the rows that differ whose served answer a fault must give, to be named as the cause."""

PROBABLE = 0.5
"""The same for weights of fewer bits, whose rounding no two programs do alike."""

ROUNDING = 0.05
"""Share of rows that other kernels and 16-bit types change at most: bfloat16 against float32 changed 3 of 100 labels of
a real adapter; more of them mean other weights."""

FEW_BITS = 12.0
"""Weights of fewer bits than this are quantised (16-bit types hold 16)."""


def rows_to_ask(rows: Sequence[AnsweredRow]) -> list[AnsweredRow]:
    """Rows that differ and as many that do not, in the order of the run."""
    different = [one for one in rows if not one.texts_equal][:MOST_ROWS]
    equal = [one for one in rows if one.texts_equal][: max(4, len(different))]
    return sorted([*different, *equal], key=lambda one: one.row.n)


class Explanation:
    """How far one fault gives the served answers. explained: of the `different` rows; kept: of the `equal` ones."""

    def __init__(self, fault: Fault, rows: Sequence[AnsweredRow], texts: Sequence[str]) -> None:
        hits = [(one.texts_equal, one.served.text.strip() == text) for one, text in zip(rows, texts, strict=True)]
        self.fault = fault
        self.different = sum(not equal for equal, _ in hits)
        self.explained = sum(hit for equal, hit in hits if not equal)
        self.equal = sum(equal for equal, _ in hits)
        self.kept = sum(hit for equal, hit in hits if equal)

    @property
    def share(self) -> float:
        """Of the rows that differ."""
        return self.explained / self.different if self.different else 0.0

    @property
    def agreement(self) -> float:
        """Of all rows."""
        return (self.explained + self.kept) / max(1, self.different + self.equal)

    @property
    def decisive(self) -> bool:
        """Whether the fault is the cause: a rounding only resembles another, and is held against all others."""
        return self.fault.kind != "quantisation" and min(self.share, self.agreement) >= EXPLAINED


def weight_finding(
    explanations: Iterable[Explanation],
    facts: ServedModelFacts | None,
    asked_model: str,
    agreement: Estimate | None,
    prompts_known: bool,
) -> ParityFinding | None:
    """The fault that explains the differences, if any; and if none does and they are too many for rounding, that.

    agreement: of short answers; None for open ones, whose texts part by rounding alone. prompts_known: whether the
    prompts of both sides were compared, and found alike.
    """
    found = list(explanations)
    best = max(found, key=lambda e: (e.agreement, e.share), default=None)
    if best is not None and best.decisive:
        return _named(best, facts, asked_model)
    bits = None if facts is None else facts.bits
    if bits is not None and bits < FEW_BITS:
        return ParityFinding(
            kind="quantisation",
            level="note",
            sentence=f"the served weights are quantised: {bits:.1f} bits a weight by the server's own account.",
        )
    if best is not None and best.fault.kind == "quantisation" and best.share >= PROBABLE:
        return _named(best, facts, asked_model)
    if agreement is None or agreement.high is None or agreement.high >= 1 - ROUNDING:
        return None
    tried = ", ".join(dict.fromkeys(f"{e.fault.kind}{f' ({e.fault.size})' if e.fault.size else ''}" for e in found))
    rest = f" None of the simulated faults gives these answers ({tried})." if tried else ""
    return ParityFinding(
        kind="other weights",
        level="fault",
        count=round((1 - (agreement.value or 0.0)) * agreement.n),
        rows=agreement.n,
        sentence=f"other weights answer: at least {100 * (1 - agreement.high):.0f} % of the answers differ, more than "
        f"rounding changes, and the prompts {'are alike' if prompts_known else 'could not be compared'}.{rest} Compare "
        "the revision of the base and the SHA-256 of the adapter on the server with those of the adapter's manifest.",
    )


def _named(best: Explanation, facts: ServedModelFacts | None, asked_model: str) -> ParityFinding:
    fault, told = best.fault, f"{best.explained:,} of {best.different:,} differing answers are those of"
    if fault.kind == "adapter not applied":
        if facts is not None and facts.adapters and facts.parent is None and asked_model not in facts.adapters:
            return ParityFinding(
                kind="base asked",
                level="fault",
                count=best.explained,
                rows=best.different,
                sentence=f"the base is asked instead of the adapter: {told} the base alone, and '{asked_model}' is the "
                f'base in the server\'s list. Set model = "{facts.adapters[0]}".',
            )
        return ParityFinding(
            kind="adapter not applied",
            level="fault",
            count=best.explained,
            rows=best.different,
            sentence=f"the adapter is not applied: {told} the base alone. Load it (vLLM: --enable-lora "
            "--lora-modules), ask by its name, or serve the merged model.",
        )
    if fault.kind == "reduced rank":
        return ParityFinding(
            kind="reduced rank",
            level="fault",
            count=best.explained,
            rows=best.different,
            sentence=f"the adapter is served with {fault.size}: {told} that rank. Raise the server's largest rank "
            "(vLLM: --max-lora-rank), or export the adapter again.",
        )
    return ParityFinding(
        kind="quantisation",
        level="note",
        count=best.explained,
        rows=best.different,
        sentence=f"the served weights seem to be rounded to {fault.size}: {told} such weights.",
    )


ADAPTER = "adapter"
BLOCK = 32
"""Weights that share one scale, as in GGUF's Q8_0 and Q4_0 (ggml-quants.c: quantize_row_q8_0_ref, q4_0_ref)."""


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
        if folder is not None:
            self._adapters.activate(ADAPTER, folder)

    def label_log_likelihoods(self, requests: Sequence[Request]) -> list[Completion]:
        """Log-likelihoods of the labels, without any fault."""
        return self._engine.answer(list(requests), decode="choose")

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
        """The merged weights, all matrices rounded to 8 and to 4 bits."""
        with torch.no_grad():
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
            whole = {key: weight.detach().clone() for key, weight in shared.items()}
            for bits in (8, 4):
                for key, weight in shared.items():
                    weight.copy_(rounded(whole[key], bits))
                yield Fault("quantisation", f"{bits} bits"), self._texts(requests)


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
