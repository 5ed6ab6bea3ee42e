"""Likeness of an answer to its reference, by the usual libraries: chrF (sacrebleu) and ROUGE-L (rouge-score).

Both are optional (extra `text`). Likeness is no judgement of truth: a right answer in other words scores low.
"""

import importlib
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from harness.metrics import Metric

CHRF = Metric(name="chrf", row_value="chrf", proportion=False, low=0.0, high=1.0)
ROUGE_L = Metric(name="rouge_l", row_value="rouge_l", proportion=False, low=0.0, high=1.0)

LONGEST_WORDS = 2000
"""ROUGE-L's time grows with the product of both lengths: only the first words of either text are compared."""


def similarity_metrics() -> tuple[Metric, ...]:
    """The metrics that can be computed with what is installed."""
    found = (("sacrebleu", CHRF), ("rouge_score", ROUGE_L))
    return tuple(metric for package, metric in found if find_spec(package) is not None)


def similarities(text: str, reference: str) -> dict[str, float]:
    """chrF (M. Popovic 2015, of one sentence) and the F of ROUGE-L (C.-Y. Lin 2004, stemmed), both from 0 to 1."""
    values = {}
    for metric in similarity_metrics():
        values[metric.row_value] = _chrf(text, reference) if metric is CHRF else _rouge_l(text, reference)
    return values


@lru_cache(maxsize=1)
def _chrf_scorer() -> Any:
    return importlib.import_module("sacrebleu.metrics").CHRF()


@lru_cache(maxsize=1)
def _rouge_scorer() -> Any:
    return importlib.import_module("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)


def _chrf(text: str, reference: str) -> float:
    return float(_chrf_scorer().sentence_score(text, [reference]).score) / 100


def _rouge_l(text: str, reference: str) -> float:
    first, second = (" ".join(t.split()[:LONGEST_WORDS]) for t in (reference, text))
    return float(_rouge_scorer().score(first, second)["rougeL"].fmeasure)
