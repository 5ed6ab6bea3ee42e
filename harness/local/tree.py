"""The labels of a row as one tree of tokens, scored in a single forward pass behind the prompt."""

from typing import NamedTuple

from .net import Tail


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
