"""`decode = "head"`: a classification head on the last token's state; it reads the row's own passages only."""

from collections.abc import Callable

import torch
from torch import Tensor

from harness.backends.local.batching import Item, not_a_number, overflowed
from harness.backends.local.kv_cache import Prefix
from harness.backends.local.model import LoadedModel, last_mlp_at
from harness.records import Completion, Request, Usage


class Head:
    """Classifies with a score matrix (labels x hidden size) on top of the net's hidden states."""

    def __init__(self, net: LoadedModel, score: Callable[[Tensor], Tensor], labels: tuple[str, ...]) -> None:
        self.net = net
        self.score = score
        self.labels = labels

    def extra(self, request: Request) -> int:
        """A head adds no tokens."""
        return 0

    def room(self, request: Request) -> int:
        """The whole context."""
        return self.net.context

    def key(self, request: Request) -> None:
        """Any rows go together."""
        return

    def most_rows(self, request: Request) -> int:
        """No bound but the tokens: a head's logits are few."""
        return 1 << 20

    def columns(self, items: list[Item], prefix: int) -> tuple[int, int]:
        """Tokens computed, and columns with their padding."""
        own = [len(i.prompt.ids) for i in items]
        return sum(own), max(own) * len(own)

    def answer(self, items: list[Item], prefix: Prefix) -> list[Completion]:
        """One forward pass, padded on the right: under causal attention no row sees its padding."""
        rows = [item.prompt.ids for item in items]
        lengths = torch.tensor([len(row) for row in rows], device=self.net.device)
        ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        with last_mlp_at(self.net.backbone, lengths[:, None] - 1):
            hidden = self.net.backbone(input_ids=ids.to(self.net.device), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(rows), device=self.net.device), lengths - 1]
        scores = self.score(last).float().log_softmax(-1).tolist()
        return [
            self._completion(item, dict(zip(self.labels, row, strict=True)))
            for item, row in zip(items, scores, strict=True)
        ]

    def _completion(self, item: Item, scores: dict[str, float]) -> Completion:
        if overflowed(scores.values()):
            return not_a_number(item.request)
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
