"""`decode = "json"`: only tokens that keep the answer inside the request's JSON schema or label set.

The grammars are llguidance's; docs/architecture.md says why.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.prompting.rendering import Renderer
from harness.records import Request

from .grammar import grammar_of


class Constraints:
    """Grammars on one tokenizer; each is compiled once and copied for every row."""

    def __init__(self, renderer: Renderer, vocabulary: int, ends: frozenset[int]) -> None:
        from llguidance import LLExecutor
        from llguidance.hf import from_tokenizer

        self._tokenizer = from_tokenizer(renderer.tokenizer, n_vocab=vocabulary, eos_token=sorted(ends))
        self._executor = LLExecutor(num_threads=torch.get_num_threads())
        self._compiled: dict[str, Any] = {}

    def matcher(self, request: Request) -> Any:
        """A matcher at the beginning of an answer."""
        from llguidance import LLMatcher

        grammar = grammar_of(request.labels, request.schema)
        if grammar not in self._compiled:
            self._compiled[grammar] = LLMatcher(self._tokenizer, grammar)
        return self._compiled[grammar].deep_copy()

    def forbid(self, matchers: Sequence[Any], logits: Tensor) -> Tensor:
        """Logits [rows, vocabulary] with minus infinity wherever a row's grammar does not go on."""
        rows, vocabulary = logits.shape
        bits = torch.zeros((rows, (vocabulary + 31) // 32), dtype=torch.int32)
        pairs = [(matcher, row) for row, matcher in enumerate(matchers)]
        self._executor.unsafe_compute_mask_ptr(pairs, bits.data_ptr(), bits.shape[1] * 4, rows)
        allowed = (bits.to(logits.device)[:, :, None] >> torch.arange(32, device=logits.device)) & 1
        return logits.masked_fill(allowed.view(rows, -1)[:, :vocabulary] == 0, float("-inf"))
