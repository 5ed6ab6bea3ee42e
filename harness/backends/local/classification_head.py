"""`decode = "head"`: a classification head on the last token's state; it reads the row's own passages only."""

from collections.abc import Callable

import torch
from torch import Tensor

from harness.backends.local.batching import PromptItem, has_non_finite, non_finite_completion
from harness.backends.local.kv_cache import Prefix
from harness.backends.local.model import LoadedModel, last_mlp_at
from harness.records import Completion, Request, Usage


class HeadDecoder:
    """Classifies with a score matrix (labels x hidden size) on top of the net's hidden states."""

    def __init__(self, loaded: LoadedModel, score: Callable[[Tensor], Tensor], labels: tuple[str, ...]) -> None:
        self.loaded = loaded
        self.score = score
        self.labels = labels

    def extra_tokens(self, request: Request) -> int:
        """A head adds no tokens."""
        return 0

    def max_prompt_tokens(self, request: Request) -> int:
        """The whole context."""
        return self.loaded.context

    def batch_key(self, request: Request) -> None:
        """Any rows go together."""
        return

    def max_batch_rows(self, request: Request) -> int:
        """No bound but the tokens: a head's logits are few."""
        return 1 << 20

    def count_columns(self, items: list[PromptItem], prefix: int) -> tuple[int, int]:
        """Tokens computed, and columns with their padding."""
        own = [len(i.prompt.ids) for i in items]
        return sum(own), max(own) * len(own)

    def decode_batch(self, items: list[PromptItem], prefix: Prefix) -> list[Completion]:
        """One forward pass, padded on the right: under causal attention no row sees its padding."""
        rows = [item.prompt.ids for item in items]
        lengths = torch.tensor([len(row) for row in rows], device=self.loaded.device)
        ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        with last_mlp_at(self.loaded.backbone, lengths[:, None] - 1):
            hidden = self.loaded.backbone(input_ids=ids.to(self.loaded.device), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(rows), device=self.loaded.device), lengths - 1]
        scores = self.score(last).float().log_softmax(-1).tolist()
        return [
            self._completion(item, dict(zip(self.labels, row, strict=True)))
            for item, row in zip(items, scores, strict=True)
        ]

    def _completion(self, item: PromptItem, scores: dict[str, float]) -> Completion:
        if has_non_finite(scores.values()):
            return non_finite_completion(item.request)
        return Completion(
            id=item.request.id,
            repeat=item.request.repeat,
            text=max(scores, key=scores.__getitem__),
            finish="stop",
            label_scores=scores,
            prompt_hash=item.prompt.hash(),
            prompt_truncated=item.prompt.truncated,
            usage=Usage(prompt_tokens=len(item.prompt.ids)),
        )
