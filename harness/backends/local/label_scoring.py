"""Labels without generation: the likelihood of each, or a classification head."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from harness.backends.local.batching import PromptItem, has_non_finite, non_finite_completion
from harness.backends.local.exactness import logits_after
from harness.backends.local.kv_cache import Prefix, new_stores, window
from harness.backends.local.model import LoadedModel, Tail, float32_output, last_mlp_at
from harness.records import Completion, Request, Usage


class LabelTree(NamedTuple):
    """tail: tokens that must be fed; lookups[label]: (slot, token) pairs whose log-probabilities add up.

    Slot 0 is the prompt's last column, slot k the k-th fed token. A label's last token is looked up, never fed.
    """

    tail: Tail
    lookups: list[list[tuple[int, int]]]

    @classmethod
    def of(cls, labels: list[list[int]], end_id: int) -> "LabelTree":
        """The tree of token sequences, none empty; where one is the beginning of another, all get the end token."""
        prefixes = {tuple(label[:n]) for label in labels for n in range(1, len(label))}
        if any(tuple(label) in prefixes for label in labels):
            labels = [[*label, end_id] for label in labels]
        slots: dict[tuple[int, ...], int] = {(): 0}
        fed: list[tuple[int, ...]] = []
        lookups = []
        for label in labels:
            pairs = []
            for n, token in enumerate(label):
                path = tuple(label[:n])
                if path not in slots:
                    fed.append(path)
                    slots[path] = len(fed)
                pairs.append((slots[path], token))
            lookups.append(pairs)
        tail = Tail(
            tokens=[path[-1] for path in fed],
            depths=[len(path) - 1 for path in fed],
            sees=[[path[: len(other)] == other for other in fed] for path in fed],
        )
        return cls(tail, lookups)

    def branches(self) -> list[tuple[list[int], list[int]]]:
        """Sequences of fed tokens from the root to each leaf, with slot 0 and their own: ([0, 1, 4], tokens)."""
        sees = self.tail.sees
        leaves = [k for k in range(len(sees)) if not any(other[k] for n, other in enumerate(sees) if n != k)]
        paths = [[n for n, seen in enumerate(sees[leaf]) if seen] for leaf in leaves] or [[]]
        return [([0, *(n + 1 for n in path)], [self.tail.tokens[n] for n in path]) for path in paths]


Normalisation = Literal["sum", "mean"]

MOST_LOGITS = 1 << 26
"""Float32 logits held at a time (256 MiB): bounds the rows of a batch where the vocabulary is large."""


class LabelScoringDecoder:
    """Scores label sets on one net. `normalisation` is "sum" (log-likelihood) or "mean" (per scored token)."""

    def __init__(self, loaded: LoadedModel, normalisation: Normalisation = "sum") -> None:
        self.loaded = loaded
        self.normalisation = normalisation
        self._trees: dict[tuple[str, ...], LabelTree] = {}

    def tree(self, labels: tuple[str, ...]) -> LabelTree:
        """The label tree, built once a label set."""
        if labels not in self._trees:
            encode = self.loaded.renderer.encode_answer
            self._trees[labels] = LabelTree.of([encode(label) for label in labels], self.loaded.renderer.end_id)
        return self._trees[labels]

    def extra_tokens(self, request: Request) -> int:
        """Tokens a row takes besides its prompt: those of the tree."""
        return len(self.tree(request.labels).tail.tokens)

    def max_prompt_tokens(self, request: Request) -> int:
        """Tokens a prompt may have: the context less the deepest label token fed."""
        depths = self.tree(request.labels).tail.depths
        return self.loaded.context - (max(depths) + 1 if depths else 0)

    def batch_key(self, request: Request) -> tuple[str, ...]:
        """Rows of one batch share their labels."""
        return request.labels

    def max_batch_rows(self, request: Request) -> int:
        """Rows a batch may have for its logits to fit."""
        return max(1, MOST_LOGITS // (self.loaded.vocabulary * (1 + self.extra_tokens(request))))

    def count_columns(self, items: list[PromptItem], prefix: int) -> tuple[int, int]:
        """Tokens computed behind the prefix, and columns with their padding."""
        extra = self.extra_tokens(items[0].request)
        own = [len(i.prompt.ids) - prefix + extra for i in items]
        return sum(own), max(own) * len(own)

    def decode_batch(self, items: list[PromptItem], prefix: Prefix) -> list[Completion]:
        """One forward pass; logits only where a label's token is looked up."""
        tree = self.tree(items[0].request.labels)
        skip = len(prefix.ids)
        packed = self.loaded.pack([item.prompt.ids[skip:] for item in items], skip, tree.tail)
        with float32_output(self.loaded.model):
            cache = None
            if skip:
                stores = new_stores(self.loaded, len(items), packed.valid.shape[1])
                cache = window(stores, slice(0, len(items)), 0, prefix.layers)
            logits = self.loaded.logits(packed, cache, 1 + len(tree.tail.tokens))
        return self._completions(items, logits, skip)

    def decode_singly(self, item: PromptItem) -> Completion:
        """The same from one pass for each sequence of label tokens that must be fed."""
        tree = self.tree(item.request.labels)
        logits: dict[int, torch.Tensor] = {}
        with float32_output(self.loaded.model):
            for slots, tokens in tree.branches():
                found = logits_after(self.loaded.model, item.prompt.ids, tokens)
                logits |= dict(zip(slots, found, strict=True))
        (answer,) = self._completions([item], torch.stack([logits[n] for n in sorted(logits)])[None], 0)
        return answer

    def _completions(self, items: list[PromptItem], logits: torch.Tensor, skip: int) -> list[Completion]:
        """From logits [rows, slots, vocabulary]; skip: tokens of the shared prefix."""
        labels = items[0].request.labels
        tree = self.tree(labels)
        scores = self._scores(logits.float(), tree).tolist()
        return [
            self._completion(item, skip, dict(zip(labels, row, strict=True)))
            for item, row in zip(items, scores, strict=True)
        ]

    def _scores(self, logits: torch.Tensor, tree: LabelTree) -> torch.Tensor:
        """[rows, labels]: sums (or means) of log-probabilities, float32."""
        norm = logits.logsumexp(-1)
        columns = []
        for pairs in tree.lookups:
            slots = torch.tensor([slot for slot, _ in pairs], device=logits.device)
            tokens = torch.tensor([token for _, token in pairs], device=logits.device)
            total = (logits[:, slots, tokens] - norm[:, slots]).sum(-1)
            columns.append(total / len(pairs) if self.normalisation == "mean" else total)
        return torch.stack(columns, dim=-1)

    def _completion(self, item: PromptItem, cached: int, scores: dict[str, float]) -> Completion:
        if has_non_finite(scores.values()):
            return non_finite_completion(item.request)
        best = max(scores, key=scores.__getitem__)
        return Completion(
            id=item.request.id,
            repeat=item.request.repeat,
            text=best,
            finish="stop",
            label_scores=scores,
            prompt_hash=item.prompt.hash(),
            prompt_truncated=item.prompt.truncated,
            usage=Usage(
                prompt_tokens=len(item.prompt.ids),
                cached_tokens=cached,
                completion_tokens=len(self.loaded.renderer.encode_answer(best)),
            ),
        )


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
