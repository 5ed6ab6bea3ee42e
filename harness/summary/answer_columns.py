"""One backend's answers as arrays of (rows, repeats): values, confidences by source, prices, hashes of texts."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.confidence import PREFERRED, ConfidenceSource, answer_confidence
from harness.metrics import ACCURACY, Metric
from harness.records import LogLine, Score
from harness.summary.outcomes import Array, row_value

OF_COMPLETIONS: tuple[ConfidenceSource, ...] = ("label scores", "mean log-probability", "least log-probability")
NO_TEXT = 0

Hashes = NDArray[np.uint64]


def text_hash(text: str) -> int:
    """Eight bytes of a hash of a text, blanks around it aside; never NO_TEXT."""
    found = hashlib.blake2b(text.strip().encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(found, "big") | 1


def new_hashes(rows: int, repeats: int) -> Hashes:
    """(rows, repeats), NO_TEXT everywhere."""
    return np.full((rows, repeats), NO_TEXT, dtype=np.uint64)


def equal_rows(a: Hashes, b: Hashes) -> tuple[int, int]:
    """Rows on which both have answered, and of these the rows on which all their common answers are equal texts."""
    repeats = min(a.shape[1], b.shape[1])
    a, b = a[:, :repeats], b[:, :repeats]
    both = (a != NO_TEXT) & (b != NO_TEXT)
    rows = both.any(axis=1)
    return int(rows.sum()), int((rows & ((a == b) | ~both).all(axis=1)).sum())


def commonest(hashes: Hashes) -> tuple[int, int]:
    """How many answers there are, and how many of them are the most frequent text."""
    known = hashes[hashes != NO_TEXT]
    if not len(known):
        return 0, 0
    return len(known), int(np.unique(known, return_counts=True)[1].max())


def row_metric(metrics: tuple[Metric, ...]) -> Metric | None:
    """The metric by which answers are kept or passed on: the headline where it is a mean over rows, else accuracy."""
    headline = next((m for m in metrics[:1] if m.kind == "mean"), None)
    return headline or next((m for m in metrics if m == ACCURACY), None)


@dataclass(frozen=True)
class BackendAnswers:
    """What is known of the answers to (rows, repeats) requests; nan: nothing.

    values: of the metric, in its own direction. confidence: by source; a source that no answer has is missing. prices:
    list price of an answer, USD.
    """

    values: Array
    confidence: Mapping[ConfidenceSource, Array]
    prices: Array

    @property
    def source(self) -> ConfidenceSource | None:
        """The preferred source among those that there are."""
        return next((source for source in PREFERRED if source in self.confidence), None)


@dataclass
class AnswersBuilder:
    """Gathers answers line by line, in any order. labels: how many the task has; temperature: of label scores."""

    metric: Metric | None
    rows: int
    repeats: int
    labels: int
    temperature: float | None = None
    _found: dict[str, Array] = field(default_factory=dict)
    _hashes: Hashes | None = None
    _read: Callable[[Score], float | None] = field(init=False)

    def __post_init__(self) -> None:
        self._read = (lambda score: None) if self.metric is None else row_value(self.metric.row_value)
        if self.repeats > 1:
            self._hashes = new_hashes(self.rows, self.repeats)

    def add(self, line: LogLine) -> None:
        """Take in the last line of one (row, repeat); an infrastructure error adds nothing but its price."""
        self._put("prices", line, line.cost.list)
        if line.error is not None or line.score is None:
            return
        self._put("values", line, self._read(line.score))
        if line.label_scores or line.token_logprobs is not None:
            for source in OF_COMPLETIONS:
                self._put(source, line, answer_confidence(line, source, self.labels, self.temperature))
        self._put("task", line, line.score.confidence)
        if self._hashes is not None:
            self._hashes[line.n, line.repeat] = text_hash(line.score.answer or line.text)

    def _put(self, name: str, line: LogLine, value: float | None) -> None:
        if value is None:
            return
        if name not in self._found:
            self._found[name] = np.full((self.rows, self.repeats), np.nan)
        self._found[name][line.n, line.repeat] = value

    def build(self) -> BackendAnswers:
        """What has been gathered."""
        empty = np.full((self.rows, self.repeats), np.nan)
        found = self._found
        named: tuple[ConfidenceSource, ...] = (*OF_COMPLETIONS, "task")
        confidence: dict[ConfidenceSource, Array] = {source: found[source] for source in named if source in found}
        if self._hashes is not None and self._hashes.any():
            confidence["agreement"] = agreement(self._hashes)
        return BackendAnswers(found.get("values", empty), confidence, found.get("prices", empty))


def agreement(hashes: Hashes) -> Array:
    """(rows, repeats): the share of a row's answered repeats whose answer is that one; nan where none came."""
    answered = hashes != NO_TEXT
    same = (hashes[:, :, None] == hashes[:, None, :]) & answered[:, None, :]
    share = same.sum(axis=2) / np.maximum(answered.sum(axis=1), 1)[:, None]
    return np.where(answered, share, np.nan)
